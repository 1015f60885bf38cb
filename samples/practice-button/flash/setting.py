# The button's settings: config.json, or its backup; each boot rewrites the backup.
import json

setting = {}


def load(name):
    global setting
    setting = {}
    loaded = None
    try:
        with open(name) as f:
            loaded = json.loads(f.read())
    except Exception:
        print('ERROR in setting.load Load Backup')
        try:
            with open(name + '.bak') as f:
                loaded = json.loads(f.read())
        except Exception:
            print('ERROR in setting.load Can not Load Backup')
            return
    setting = loaded
    with open(name + '.bak', 'w') as f:
        f.write(json.dumps(setting))


def save(name):
    with open(name, 'w') as f:
        f.write(json.dumps(setting))


def get(key):
    try:
        return setting[key]
    except KeyError:
        print('ERROR in setting.get', key)
        return ''


def update(values):
    setting.update(values)
