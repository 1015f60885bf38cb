# What the button runs after boot: its settings and its one-second timer.
import control
control.start(False)
