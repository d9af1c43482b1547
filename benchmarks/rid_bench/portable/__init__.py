"""What measures: packed as it is into the zip for other machines, with ``rid_core/runtimes``.

Everything here runs on Python 3.9 with numpy and one runtime. On this machine the harness adds what
only a workstation can run (torch, Core ML) to the same code, so that a board and a workstation are
measured by the same lines.
"""
