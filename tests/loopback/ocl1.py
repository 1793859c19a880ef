"""A card of pages as docs/card-layout.md has it, computed with an AES that is not the daemon's (PyCryptodome).

    ocl1.py CARD_KEY_FILE DUMP SLOT_A SLOT_B full|compact    with the first page of each slot

Prints a JSON object: the records whose seals hold, and what closes a card with this UID.
"""

import json
import struct
import sys
import tomllib

from Crypto.Cipher import AES
from Crypto.Hash import CMAC

EPOCH_2020 = 1577836800


def cmac(key, data):
    return CMAC.new(key, data, ciphermod=AES).digest()


def main(key_file, dump_file, slot_a, slot_b, form):
    with open(key_file, "rb") as file:
        keys = tomllib.load(file)
    with open(dump_file, "rb") as file:
        memory = file.read()
    uid = memory[0:3] + memory[4:8]
    master, property_id = bytes.fromhex(keys["key"]), bytes.fromhex(keys["property_id"].replace("-", ""))
    who = bytes([len(uid)]) + uid
    # AN10922 with 15 to 31 bytes of input is CMAC over 01 and the input.
    seal_key = cmac(cmac(master, b"OCL1 seal"), b"\x01OCL1 card" + who)
    records = []
    for slot, first in enumerate([int(slot_a), int(slot_b)]):
        bytes_ = memory[first * 4 :]
        if form == "full":
            version, key_id, sequence, mac = struct.unpack(">BBI8s", bytes_[:14])
            doors = bytes_[16 + 45]
            payload = bytes_[16 : 16 + 46 + 2 * doors]
            covered, number = payload, bytes_[2:6]
        else:
            version, key_id, sequence, mac = struct.unpack(">BBH8s", bytes_[:12])
            payload = bytes_[12:24]
            covered, number = property_id + payload, bytes_[2:4]
        head = b"OCL1" + bytes([version, key_id]) + who + bytes([slot]) + number + struct.pack(">H", len(covered))
        if cmac(seal_key, head + covered)[:8] != mac:
            continue
        if form == "full":
            starts_at, ends_at, _issued_at = struct.unpack(">III", payload[33:45])
            record = {"credential": payload[:16].hex(), "property": payload[16:32] == property_id}
            record["doors"] = list(struct.unpack(f">{doors}H", payload[46:]))
        else:
            starts_at, ends_at = (EPOCH_2020 + 60 * int.from_bytes(payload[at : at + 3]) for at in (4, 7))
            record = {"credential": payload[:4].hex(), "property": True, "doors": [payload[10] << 4 | payload[11] >> 4]}
        records.append(record | {"slot": slot, "sequence": sequence, "starts_at": starts_at, "ends_at": ends_at})
    closed = cmac(cmac(master, b"OCL1 password"), b"OCL1 pwd" + who)
    des = cmac(cmac(master, b"OCL1 password"), b"OCL1 3des" + who)
    print(json.dumps({"records": records, "password": closed[:4].hex(), "pack": closed[4:6].hex(), "des": des.hex()}))


main(*sys.argv[1:])
