// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// One BPF source as it is, with this directory's shim before libbpf's headers.
#include WEIR_NATIVE_SOURCE
