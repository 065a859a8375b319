// SPDX-License-Identifier: Apache-2.0
#include "datapath/shards.h"

#include <algorithm>
#include <numeric>
#include <thread>

#include <bpf/bpf.h>

#include "weir/ct.h"

namespace weir::datapath {
namespace {

constexpr uint32_t kAtOnce = 16;

struct Look {
    Result<bool> found = false;
    uint32_t id = 0;
};

/// Those who wait for a grace period at the same time wait for the same one, so side by side.
std::vector<Look> look_up(const RawMap& outer) {
    std::vector<Look> looks(outer.info().max_entries);
    const auto take_turns = [&](uint32_t first) {
        for (uint32_t i = first; i < looks.size(); i += kAtOnce)
            looks[i].found = outer.find(&i, &looks[i].id);
    };
    std::vector<std::jthread> threads;
    const uint32_t count = std::min(kAtOnce, outer.info().max_entries);
    for (uint32_t i = 0; i < count; ++i)
        threads.emplace_back(take_turns, i);
    threads.clear();
    return looks;
}

}  // namespace

Result<std::vector<Shard>> open_shards(const RawMap& outer, bool read_only) {
    std::vector<Look> looks = look_up(outer);
    std::vector<Shard> shards;
    for (uint32_t i = 0; i < looks.size(); ++i) {
        if (!WEIR_TRY(std::move(looks[i].found))) continue;
        LIBBPF_OPTS(bpf_get_fd_by_id_opts, opts, .open_flags = read_only ? BPF_F_RDONLY : 0U);
        const int fd = bpf_map_get_fd_by_id_opts(looks[i].id, &opts);
        if (fd < 0) return fail_errno(-fd, "map {}: open shard {}", outer.info().name, i);
        shards.push_back({i, WEIR_TRY(RawMap::from(Fd(fd)))});
    }
    return shards;
}

Result<void> count_no_flows(const RawMap& counts, bool ipv6) {
    std::vector<uint32_t> words(WEIR_CT_COUNT_WORDS);
    std::iota(words.begin(), words.end(), ipv6 ? WEIR_CT_COUNT_WORDS : 0);
    const std::vector<uint64_t> none(words.size(), WEIR_CT_COUNTS_NONE);
    return counts.put_batch(words.data(), none.data(), words.size());
}

}  // namespace weir::datapath
