"""A pipe through wolfSSL: wolfssl_client.py host port ca.pem suite. It changes its keys before each message."""

import ctypes
import ctypes.util
import os
import select
import socket
import sys

WANT_READ, WANT_WRITE, CLOSED = 2, 3, 6


def main(host, port, authorities, suite):
    name = ctypes.util.find_library("wolfssl")
    assert name, "libwolfssl is not installed"
    lib = ctypes.CDLL(name)
    for function in ("wolfTLSv1_2_client_method", "wolfTLSv1_3_client_method", "wolfSSL_CTX_new", "wolfSSL_new"):
        getattr(lib, function).restype = ctypes.c_void_p
    lib.wolfSSL_Init()
    is13 = suite.startswith("TLS13-")
    method = lib.wolfTLSv1_3_client_method() if is13 else lib.wolfTLSv1_2_client_method()
    context = ctypes.c_void_p(lib.wolfSSL_CTX_new(ctypes.c_void_p(method)))
    assert lib.wolfSSL_CTX_load_verify_locations(context, authorities.encode(), None) == 1
    tls = ctypes.c_void_p(lib.wolfSSL_new(context))
    assert lib.wolfSSL_set_cipher_list(tls, suite.encode()) == 1, suite
    assert lib.wolfSSL_UseSNI(tls, 0, b"localhost", 9) == 1
    assert lib.wolfSSL_check_domain_name(tls, b"localhost") == 1
    conn = socket.create_connection((host, int(port)))
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    lib.wolfSSL_set_fd(tls, conn.fileno())
    assert lib.wolfSSL_connect(tls) == 1, f"handshake: {lib.wolfSSL_get_error(tls, 0)}"
    conn.setblocking(False)

    def insist(call):
        """Calls until it does not want to read or write first."""
        while (result := call()) <= 0:
            error = lib.wolfSSL_get_error(tls, result)
            if error == WANT_READ:
                select.select([conn], [], [])
            elif error == WANT_WRITE:
                select.select([], [conn], [])
            else:
                sys.exit(f"error {error}")
        return result

    buffer = ctypes.create_string_buffer(1 << 14)
    while True:
        ready, _, _ = select.select([0, conn], [], [])
        if 0 in ready:
            data = os.read(0, 1 << 14)
            if not data:
                return
            if is13 and data[0] == 0x82:  # a frame begins: there is a limit
                insist(lambda: lib.wolfSSL_update_keys(tls))
            while data:
                data = data[insist(lambda: lib.wolfSSL_write(tls, data, len(data))):]
        while True:
            n = lib.wolfSSL_read(tls, buffer, len(buffer))
            if n > 0:
                os.write(1, buffer.raw[:n])
                continue
            error = lib.wolfSSL_get_error(tls, n)
            if error in (0, CLOSED):
                return
            if error not in (WANT_READ, WANT_WRITE):
                sys.exit(f"error {error}")
            break


main(*sys.argv[1:])
