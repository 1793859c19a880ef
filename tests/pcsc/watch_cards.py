"""pyscard's own monitor: prints a line for each card that comes or goes, with its reader and ATR, until it is ended."""

import sys
import threading

from smartcard.CardMonitoring import CardMonitor, CardObserver
from smartcard.util import toHexString


class Printer(CardObserver):
    def update(self, observable, handlers):
        for word, cards in zip(("placed", "removed"), handlers):
            for card in cards:
                print(word, toHexString(card.atr).replace(" ", "").lower(), "on", card.reader, flush=True)


CardMonitor().addObserver(Printer())
print("watching", flush=True)
threading.Event().wait()
sys.exit(1)
