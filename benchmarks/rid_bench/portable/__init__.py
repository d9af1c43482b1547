"""What measures: packed as it is into the zip for other machines.

Everything here runs on Python 3.9 with numpy and one runtime, and imports nothing else of ours. On
this machine the harness adds sessions of its own (torch, Core ML) to the same code, so that a board
and a workstation are measured by the same lines.
"""
