"""pyscard as a program of its own. `python peer.py watch|job READERS`: says `ready` when so many readers are there, then
`card UID` or, when it has done the job on the card, `done UID`, and `gone` when a card was taken away.

The job: read sector 1 with the key of a new card, write its three blocks, read them back. The fewest APDUs that do it.
"""

import sys
import threading
import time

from smartcard.CardMonitoring import CardMonitor, CardObserver
from smartcard.System import readers


def say(line):
    print(line, flush=True)


def transmit(connection, header, data=b"", expect=None):
    apdu = bytes.fromhex(header) + (bytes([len(data)]) + data if data else b"") + (bytes([expect]) if expect is not None else b"")
    answer, sw1, sw2 = connection.transmit(list(apdu))
    if (sw1, sw2) != (0x90, 0x00):
        raise RuntimeError(f"{header}: {sw1:02x}{sw2:02x}")
    return bytes(answer)


def read_sector(connection):
    return b"".join(transmit(connection, f"ffb000{block:02x}", expect=16) for block in (4, 5, 6))


def job(connection, data):
    transmit(connection, "ff820000", b"\xff" * 6)
    transmit(connection, "ff860000", bytes.fromhex("0100046000"))
    read_sector(connection)
    for index, block in enumerate((4, 5, 6)):
        transmit(connection, f"ffd600{block:02x}", data[16 * index : 16 * index + 16])
    found = read_sector(connection)
    if found != data:
        raise RuntimeError(f"read back: {found.hex()}")


class Observer(CardObserver):
    def update(self, observable, actions):
        added, removed = actions
        for card in added:
            try:
                connection = card.createConnection()
                connection.connect()
                uid = transmit(connection, "ffca0000", expect=0)
                if sys.argv[1] == "job":
                    job(connection, (uid * 48)[:48])
                    say(f"done {uid.hex()}")
                else:
                    say(f"card {uid.hex()}")
                connection.disconnect()
            except Exception as error:
                say(f"failed {error}")
        for _card in removed:
            say("gone")


while len(readers()) < int(sys.argv[2]):
    time.sleep(0.05)
CardMonitor().addObserver(Observer())
say("ready")
threading.Event().wait()
