# The radio, as far as the settings need it: its address.
import binascii
import js

STA_IF = 0
AP_IF = 1


class WLAN:
    def __init__(self, interface=0):
        pass

    def config(self, what=None, **to):
        if what == 'mac':
            return binascii.unhexlify(js.practiceButton.mac().encode())
        if what is not None:
            raise ValueError('unknown config param')

    def active(self, *to):
        return True

    def isconnected(self):
        return False

    def status(self, *what):
        return 31

    def ifconfig(self, *to):
        return ('0.0.0.0', '255.255.255.0', '0.0.0.0', '0.0.0.0')
