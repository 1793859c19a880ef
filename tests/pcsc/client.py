"""A PC/SC client for the tests: the functions of libpcsclite by way of pyscard, one call a line.

Reads a JSON list a line, the name of a function and its arguments, and answers each with a JSON list: the return code as
an unsigned number, and whatever else the function gives; bytes are in hexadecimal. Stays with one context until it is
told `establish` again, as a program of its own would. PCSCLITE_CSOCK_NAME says which pcscd.
"""

import json
import sys

from smartcard import scard

WAIT_FOR_EVER = 0xFFFFFFFF


class Client:
    """One context and at most one connection."""

    def __init__(self):
        self.context = None
        self.card = None
        self.protocol = scard.SCARD_PROTOCOL_T1

    def establish(self):
        code, self.context = scard.SCardEstablishContext(scard.SCARD_SCOPE_SYSTEM)
        return code, ()

    def release(self):
        return scard.SCardReleaseContext(self.context), ()

    def readers(self):
        code, names = scard.SCardListReaders(self.context, [])
        return code, (names,)

    def wait(self, timeout_ms, states):
        """`states` are pairs of a reader's name and its state as last seen; gives triples with state and ATR."""
        code, seen = scard.SCardGetStatusChange(self.context, timeout_ms, [tuple(state) for state in states])
        return code, ([[name, state, bytes(atr).hex()] for name, state, atr in seen],)

    def connect(self, reader, share="shared"):
        share = {
            "shared": scard.SCARD_SHARE_SHARED,
            "exclusive": scard.SCARD_SHARE_EXCLUSIVE,
            "direct": scard.SCARD_SHARE_DIRECT,
        }[share]
        protocols = 0 if share == scard.SCARD_SHARE_DIRECT else scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1
        code, card, protocol = scard.SCardConnect(self.context, reader, share, protocols)
        if code == 0:
            self.card, self.protocol = card, protocol
        return code, ()

    def reconnect(self):
        protocols = scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1
        code, self.protocol = scard.SCardReconnect(
            self.card, scard.SCARD_SHARE_SHARED, protocols, scard.SCARD_LEAVE_CARD
        )
        return code, ()

    def disconnect(self, disposition="leave"):
        disposition = {
            "leave": scard.SCARD_LEAVE_CARD,
            "reset": scard.SCARD_RESET_CARD,
            "unpower": scard.SCARD_UNPOWER_CARD,
        }[disposition]
        return scard.SCardDisconnect(self.card, disposition), ()

    def begin(self):
        return scard.SCardBeginTransaction(self.card), ()

    def end(self, disposition="leave"):
        disposition = {"leave": scard.SCARD_LEAVE_CARD, "reset": scard.SCARD_RESET_CARD}[disposition]
        return scard.SCardEndTransaction(self.card, disposition), ()

    def transmit(self, apdu):
        protocol = scard.SCARD_PCI_T1 if self.protocol == scard.SCARD_PROTOCOL_T1 else scard.SCARD_PCI_T0
        code, response = scard.SCardTransmit(self.card, protocol, list(bytes.fromhex(apdu)))
        return code, (bytes(response).hex(),)

    def control(self, control_code, sent):
        code, received = scard.SCardControl(self.card, control_code, list(bytes.fromhex(sent)))
        return code, (bytes(received).hex(),)

    def attribute(self, tag):
        code, value = scard.SCardGetAttrib(self.card, tag)
        return code, (bytes(value).hex(),)

    def status(self):
        code, reader, state, _protocol, atr = scard.SCardStatus(self.card)
        return code, (reader, state, bytes(atr).hex())


def main():
    client = Client()
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        code, rest = getattr(client, name)(*arguments)
        print(json.dumps([code & 0xFFFFFFFF, *rest]), flush=True)


main()
