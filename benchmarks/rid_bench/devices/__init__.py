"""Where things are measured: this machine, a bundle, a board by ssh, a phone by adb."""
