# The REPL over the network; here it only talks about itself.
def start():
    print('WebREPL daemon started on ws://0.0.0.0:8266')


def stop():
    print('WebREPL is not configured, run \'import webrepl_setup\'')
