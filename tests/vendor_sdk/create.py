"""Has the hub vendor's Python service SDK create devices, and says how long that took: the comparison of tests/bench.

Reads the hub owner connection string from QDRS_TEST_OWNER; the authority to trust is in REQUESTS_CA_BUNDLE. Each thread
has a client of its own and opens its connection before the clock runs. Keys are made here, as QDRS makes them. Prints
one JSON object: devices made, seconds, CPU seconds of this process, both of the calls alone.
"""

import argparse
import base64
import json
import os
import threading
import time

from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import AuthenticationMechanism, ExportImportDevice, SymmetricKey


def key():
    return base64.b64encode(os.urandom(32)).decode()


def entry(device_id):
    keys = SymmetricKey(primary_key=key(), secondary_key=key())
    authentication = AuthenticationMechanism(type="sas", symmetric_key=keys)
    return ExportImportDevice(id=device_id, import_mode="create", status="enabled", authentication=authentication)


def create(hub, device_ids, a_call):
    if a_call == 1:
        for device_id in device_ids:
            hub.create_device_with_sas(device_id, key(), key(), "enabled")
        return
    for start in range(0, len(device_ids), a_call):
        done = hub.bulk_create_or_update_devices([entry(device_id) for device_id in device_ids[start : start + a_call]])
        if not done.is_successful:
            raise SystemExit(f"the hub refused: {done.errors[0].error_status}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--a-call", type=int, required=True)
    parser.add_argument("--prefix", required=True)
    args = parser.parse_args()

    device_ids = [f"{args.prefix}{number:06}" for number in range(args.devices)]
    failures = []
    ready = threading.Barrier(args.threads + 1)

    def work(own):
        try:
            hub = IoTHubRegistryManager(os.environ["QDRS_TEST_OWNER"])
            hub.get_service_statistics()
            ready.wait()
            create(hub, own, args.a_call)
        except BaseException as error:  # Told below.
            failures.append(error)
            ready.abort()

    threads = [threading.Thread(target=work, args=(device_ids[n :: args.threads],)) for n in range(args.threads)]
    for thread in threads:
        thread.start()
    try:
        ready.wait()
    except threading.BrokenBarrierError:
        pass
    began, cpu_began = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.join()
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    if failures:
        raise SystemExit(f"{len(failures)} threads failed, one with: {failures[0]}")
    print(json.dumps({"devices": len(device_ids), "seconds": seconds, "cpu_seconds": cpu_seconds}))


if __name__ == "__main__":
    main()
