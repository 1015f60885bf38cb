# Joining the network: blocks the whole unit for up to 15 seconds, since nobody answers here.
import js


def wait_sta(seconds=15):
    js.practiceButton.deaf(seconds)
