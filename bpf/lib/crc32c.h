/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The change of an SCTP checksum (CRC32c) when its ports change. CRC is linear: the change is the
 * CRC, without initial and final inversion, of (old ports xor new ports) followed by as many zero
 * bytes as the rest of the packet has. Zero bytes are skipped by powers of two: appending n zero
 * bytes multiplies by x^(8n) modulo the polynomial. Any length up to 64 KiB; no loop depends on it.
 */
#ifndef WEIR_LIB_CRC32C_H
#define WEIR_LIB_CRC32C_H

#include <linux/types.h>

#define CRC32C_POLYNOMIAL 0x82f63b78u /* bit-reflected */

/* x^(8 * 2^k) modulo the polynomial, bit-reflected: append 2^k zero bytes. */
static const __u32 crc32c_zeros[16] = {
	0x00800000u, 0x00008000u, 0x82f63b78u, 0x6ea2d55cu, 0x18b8ea18u, 0x510ac59au,
	0xb82be955u, 0xb8fdb1e7u, 0x88e56f72u, 0x74c360a4u, 0xe4172b16u, 0x0d65762au,
	0x35d73a62u, 0x28461564u, 0xbf455269u, 0xe2ea32dcu,
};

/* a * b modulo the polynomial; no branch depends on a value, so the verifier sees one path. */
static __always_inline __u32 crc32c_multiply(__u32 a, __u32 b)
{
	__u32 product = 0;

	for (int i = 0; i < 32; i++) {
		product ^= b & -(a >> 31);
		a <<= 1;
		b = (b >> 1) ^ (CRC32C_POLYNOMIAL & -(b & 1));
	}
	return product;
}

/* What to xor into the checksum. `difference`: the four bytes of both ports, old xor new, as read
 * from memory; `rest`: bytes after them. */
static __noinline __u32 crc32c_delta(__u32 difference, __u32 rest)
{
	__u32 crc = difference;

	for (int i = 0; i < 32; i++)
		crc = (crc >> 1) ^ (CRC32C_POLYNOMIAL & -(crc & 1));
	for (int k = 0; k < 16; k++) {
		__u32 all = -(rest >> k & 1);
		__u32 advanced = crc32c_multiply(crc, crc32c_zeros[k]);

		crc = (advanced & all) | (crc & ~all);
	}
	return crc;
}

#endif
