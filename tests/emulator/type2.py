"""A Type 2 tag as nfcpy finds it on a PN532 at this port.

    type2.py PORT dump
    type2.py PORT protect KEY    from page 4 on, against writing, with this key or password in hex
    type2.py PORT write KEY PAGE DATA    after authentication with the key

Prints a JSON object: product, uid, and what was asked for. What nfcpy does not do raises.
"""

import json
import os
import sys

import nfc
import nfc.clf
import nfc.clf.pn532
import nfc.clf.transport
import nfc.tag
from nfc.clf import RemoteTarget


# nfcpy asks stty which speeds the port can do and takes the highest. A pty can do them all, but drops what was written just
# before it is opened at another speed.
os.system = lambda command: 1


def opened(port):
    """nfcpy gives up on a reader that does not answer within 100 ms, which a busy machine does not give to every process."""
    for _ in range(20):
        transport = nfc.clf.transport.TTY(port)
        try:
            return nfc.clf.pn532.init(transport)
        except IOError as error:
            transport.close()
            last = error
    raise last


def main(port, verb, *rest):
    clf = nfc.ContactlessFrontend()
    clf.device = opened(port)
    try:
        tag = nfc.tag.activate(clf, clf.sense(RemoteTarget("106A")))
        seen = {"product": tag.product, "uid": tag.identifier.hex()}
        if verb == "dump":
            seen["pages"] = [bytes(tag.read(page)[:4]).hex() for page in range(int(rest[0]))]
        elif verb == "protect":
            seen["protected"] = tag.protect(bytes.fromhex(rest[0]), protect_from=4)
        elif verb == "write":
            key, page, data = rest
            seen["authenticated"] = tag.authenticate(bytes.fromhex(key))
            if not seen["authenticated"]:
                # The refusal has deselected it.
                tag = nfc.tag.activate(clf, clf.sense(RemoteTarget("106A")))
            try:
                seen["written"] = tag.write(int(page), bytes.fromhex(data))
            except nfc.tag.TagCommandError:
                seen["written"] = False
        print(json.dumps(seen))
    finally:
        clf.close()


main(*sys.argv[1:])
