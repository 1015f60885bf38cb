# The chip: pins, timer, reset. The runner (button.mjs) is the power supply and the clock.
import js

_pins = {}


class Pin:
    IN = 0
    OUT = 1
    PULL_UP = 1

    def __init__(self, number, mode=0, pull=None, value=None):
        self.number = number
        if value is not None:
            self.value(value)

    def value(self, *to):
        if not to:
            return _pins.get(self.number, 0)
        was = _pins.get(self.number, 0)
        _pins[self.number] = to[0]
        if self.number == 5 and was and not to[0]:
            js.practiceButton.off()

    __call__ = value

    def on(self):
        self.value(1)

    def off(self):
        self.value(0)


class PWM:
    def __init__(self, pin, freq=0, duty=0):
        self._duty = duty

    def duty(self, *to):
        if not to:
            return self._duty
        self._duty = to[0]


class ADC:
    def __init__(self, number):
        pass

    def read(self):
        return 1000 if not js.practiceButton.held() else 100


class Timer:
    ONE_SHOT = 0
    PERIODIC = 1
    _callback = None

    def __init__(self, number):
        pass

    def init(self, period=1000, mode=1, callback=None):
        Timer._callback = callback
        js.practiceButton.timer(True)

    def deinit(self):
        Timer._callback = None
        js.practiceButton.timer(False)


def _tick():
    if Timer._callback:
        Timer._callback(None)


def reset():
    js.practiceButton.reset()


def unique_id():
    import binascii
    mac = binascii.unhexlify(js.practiceButton.mac().encode())
    return bytes([mac[5], mac[4], mac[3], 0])


def freq(*to):
    return 80000000
