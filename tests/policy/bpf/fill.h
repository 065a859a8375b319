// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cerrno>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "common/result.h"
#include "model/policy_writes.h"

/// Transactions into the maps of a program that nothing runs meanwhile.
namespace weir::policy::test
{

template <typename Maps> class Fill
{
      public:
	explicit Fill(const Maps &maps) : maps_(maps)
	{
	}

	[[nodiscard]] Result<void> write(const model::PolicyTransaction &transaction)
	{
		for (const auto &write : transaction.writes) {
			std::visit([this](const auto &one) { this->apply(one); }, write);
			if (error_ != 0)
				return fail_errno(error_, "write a policy table");
		}
		return {};
	}

      private:
	void put(const bpf_map *map, const void *key, const void *value)
	{
		if (bpf_map_update_elem(bpf_map__fd(map), key, value, BPF_ANY) != 0)
			error_ = errno;
	}
	void erase(const bpf_map *map, const void *key)
	{
		if (bpf_map_delete_elem(bpf_map__fd(map), key) != 0)
			error_ = errno;
	}
	void put_all(const bpf_map *map, uint32_t first, const std::vector<uint64_t> &words)
	{
		for (const uint64_t word : words) {
			put(map, &first, &word);
			++first;
		}
	}
	void apply(const model::PolicyCellsPut &w)
	{
		put_all(maps_.weir_policy_cells, w.first, w.words);
	}
	void apply(const model::PolicyRulesPut &w)
	{
		put_all(maps_.weir_policy_rules, w.first, w.words);
	}
	void apply(const model::PolicySetPut &w)
	{
		put(maps_.weir_policy_sets, &w.index, &w.value);
	}
	void apply(const model::PolicyRowPut &w)
	{
		put(maps_.weir_policy_rows, &w.key, &w.value);
	}
	void apply(const model::PolicyRowErase &w)
	{
		erase(maps_.weir_policy_rows, &w.key);
	}
	void apply(const model::PolicyAddrPut &w)
	{
		put(maps_.weir_policy_addrs, &w.key, &w.value);
	}
	void apply(const model::PolicyAddrErase &w)
	{
		erase(maps_.weir_policy_addrs, &w.key);
	}
	void apply(const model::PolicyCidrPut &w)
	{
		put(maps_.weir_policy_cidrs, &w.key, &w.value);
	}
	void apply(const model::PolicyCidrErase &w)
	{
		erase(maps_.weir_policy_cidrs, &w.key);
	}
	void apply(const model::PolicySlotStore &w)
	{
		put(maps_.weir_policy_slots, &w.slot, &w.word);
	}
	void apply(const model::PolicyEndpointStore &)
	{
	}

	const Maps &maps_;
	int error_ = 0;
};

} // namespace weir::policy::test
