/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The configuration of this load: read-only data, set by the loader between open and load. */
#ifndef WEIR_LIB_CONFIG_H
#define WEIR_LIB_CONFIG_H

#include <stdbool.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#include "weir/config.h"

const volatile struct weir_config cfg = {};

static __always_inline bool writes_allowed(void)
{
	return !(cfg.flags & WEIR_CFG_DRY_RUN);
}

#endif
