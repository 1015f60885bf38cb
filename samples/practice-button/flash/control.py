# What the button does by the second: facts of the real firmware's schedule, in our own words.
import machine
import network
import setting
import webrepl
import wifi
from machine import Pin, PWM, ADC, Timer

power = Pin(5, Pin.OUT)
power.value(1)
red = Pin(12, Pin.OUT)
green = PWM(Pin(14), duty=1023)
button = ADC(0)
interruptCounter = 0
save_flag = False
timer = None


def pressed():
    return button.read() < 200


def shutdown(save=True):
    print('Stop Machine')
    if save:
        setting.save('config.json')
    print('Power Off')
    power.value(0)


def push():
    print('<= 5 sec')
    timer.deinit()
    # In clear, as the real one does; this token opens nothing.
    print(setting.get('iothub'), setting.get('iotdevicename'))
    print('SharedAccessSignature sr=practice&sig=bm90LWEtc2VjcmV0&se=1')
    wifi.wait_sta(15)
    shutdown(save_flag)


def handleInterrupt(t):
    global interruptCounter
    interruptCounter = interruptCounter + 1
    n = interruptCounter
    if n == 1:
        webrepl.stop()
        mac = network.WLAN().config('mac')
        setting.update({
            'keypresses': setting.setting.get('keypresses', 0) + 1,
            'hwid': ':'.join('%02X' % b for b in mac),
            'VBat': 2.9,
            'RSSI': 31,
        })
    if n <= 5 and pressed():
        push()
    if n == 5:
        print('5 sec')
    if n == 10:
        if pressed():
            print('10 sec')
            timer.deinit()
            shutdown()
    if n == 15:
        print('15 sec')
        print('Repair Time 120 sec')
        wifi.wait_sta(15)
        webrepl.start()
    if n == 120:
        print('120 sec')
        timer.deinit()
        shutdown(False)


def start(save):
    global timer, save_flag
    save_flag = save
    print('')
    setting.load('config.json')
    timer = Timer(-1)
    timer.init(period=1000, mode=Timer.PERIODIC, callback=handleInterrupt)
    print('Start Timer')
