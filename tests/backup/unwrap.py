"""Opens the secrets of a backup, as docs/backup.md says: with nothing of encoderd.

    unwrap.py BACKUP PASSPHRASE_FILE

Prints the secrets as JSON.
"""

import base64
import json
import sys
import tarfile

from argon2.low_level import Type, hash_secret_raw
from Crypto.Cipher import ChaCha20_Poly1305

backup, passphrase_file = sys.argv[1:]
with tarfile.open(backup) as archive:
    wrapped = json.load(archive.extractfile("encoderd-backup/secrets.json"))
with open(passphrase_file, "rb") as file:
    passphrase = file.read().rstrip(b"\r\n")
cost = wrapped["cost"]
key = hash_secret_raw(
    passphrase,
    bytes.fromhex(wrapped["salt"]),
    time_cost=cost["passes"],
    memory_cost=cost["memory_kib"],
    parallelism=cost["lanes"],
    hash_len=32,
    type=Type.ID,
    version=19,
)
associated = "{} {} {} v=19 m={} t={} p={} salt={} {}".format(
    wrapped["format"],
    wrapped["purpose"],
    wrapped["kdf"],
    cost["memory_kib"],
    cost["passes"],
    cost["lanes"],
    wrapped["salt"],
    wrapped["cipher"],
)
sealed = base64.b64decode(wrapped["sealed"], validate=True)
cipher = ChaCha20_Poly1305.new(key=key, nonce=bytes.fromhex(wrapped["nonce"]))
cipher.update(associated.encode())
print(cipher.decrypt_and_verify(sealed[:-16], sealed[-16:]).decode())
