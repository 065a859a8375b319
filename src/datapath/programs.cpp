// SPDX-License-Identifier: Apache-2.0
#include "datapath/programs.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>
#include <vector>

#include <bpf/bpf.h>
#include <bpf/btf.h>

#include "datapath/bpf_object.h"

namespace weir::datapath {
namespace {

/// By enum weir_stage.
constexpr std::array<std::string_view, 6> kStageNames = {"new_flow", "icmp_error", "reject",
                                                         "fragment", "neighbour",  "policy"};
static_assert(WEIR_STAGE_POLICY + 1 == kStageNames.size());

struct FreeBtf {
    void operator()(btf* b) const { btf__free(b); }
};

/// The configuration in a read-only data map, if it is one and has it.
Result<weir_config> config_in(const RawMap& map, uint32_t btf_id) {
    const std::unique_ptr<btf, FreeBtf> types(btf__load_from_kernel_by_id(btf_id));
    if (!types) return fail_errno(errno, "map {}: read its type information", map.info().name);
    const size_t offset = WEIR_TRY(find_config_offset(types.get()));
    std::vector<std::byte> data(map.info().value_size);
    const uint32_t key = 0;
    WEIR_TRY(map.find(&key, data.data()));
    // Another build's may be shorter: what it has is at the same place.
    const size_t size = std::min(sizeof(weir_config), data.size() - std::min(offset, data.size()));
    weir_config config{};
    if (size < offsetof(weir_config, host_ifindex)) {
        return fail(Errc::kInvalid, "map {}: too small for its configuration", map.info().name);
    }
    std::memcpy(&config, data.data() + offset, size);
    return config;
}

}  // namespace

std::optional<ProgramPlace> program_place(std::string_view name) {
    for (size_t hook = 0; hook < kHookNames.size(); ++hook) {
        if (!name.starts_with(kHookNames[hook])) continue;
        std::string_view rest = name.substr(kHookNames[hook].size());
        if (rest.empty()) return ProgramPlace{static_cast<weir_hook>(hook), std::nullopt};
        if (!rest.starts_with('_')) continue;
        rest.remove_prefix(1);
        for (size_t stage = 0; stage < kStageNames.size(); ++stage) {
            if (rest == kStageNames[stage]) {
                return ProgramPlace{static_cast<weir_hook>(hook), static_cast<weir_stage>(stage)};
            }
        }
    }
    return std::nullopt;
}

Result<weir_config> read_program_config(int program_fd) {
    bpf_prog_info info{};
    uint32_t length = sizeof info;
    if (const int error = bpf_obj_get_info_by_fd(program_fd, &info, &length); error != 0) {
        return fail_errno(-error, "read the facts of a program");
    }
    std::vector<uint32_t> ids(info.nr_map_ids);
    info = {};
    info.nr_map_ids = static_cast<uint32_t>(ids.size());
    info.map_ids = reinterpret_cast<uintptr_t>(ids.data());
    if (const int error = bpf_obj_get_info_by_fd(program_fd, &info, &length); error != 0) {
        return fail_errno(-error, "read the maps of a program");
    }
    for (const uint32_t id : ids) {
        const int fd = bpf_map_get_fd_by_id(id);
        if (fd < 0) continue;
        const auto map = WEIR_TRY(RawMap::from(Fd(fd)));
        bpf_map_info raw{};
        length = sizeof raw;
        const bool read_only_data = map.info().name.ends_with(".rodata");
        if (!read_only_data || bpf_obj_get_info_by_fd(fd, &raw, &length) != 0) continue;
        return config_in(map, raw.btf_id);
    }
    return fail(Errc::kNotFound, "program {} has no configuration", info.name);
}

Result<uint32_t> ProgramArray::program_id(uint32_t slot) const {
    uint32_t id = 0;
    if (!WEIR_TRY(map_->find(&slot, &id))) return 0U;
    return id;
}

Result<void> ProgramArray::set(uint32_t slot, int program_fd) const {
    return map_->put(&slot, &program_fd);
}

std::string ProgramArray::next_pin(weir_hook hook) const {
    return pins_->prog("next_" + std::string(kHookNames[hook])).string();
}

Result<std::optional<uint32_t>> ProgramArray::live_bank() const {
    for (const weir_hook hook : kFlipOrder) {
        const uint32_t id = WEIR_TRY(program_id(hook));
        if (id == 0) continue;
        const int fd = bpf_prog_get_fd_by_id(id);
        if (fd < 0) return fail_errno(-fd, "open the program in force on {}", kHookNames[hook]);
        const Fd program(fd);
        const weir_config config = WEIR_TRY(read_program_config(program.get()));
        if (config.bank < WEIR_BANKS) return config.bank;
        return fail(Errc::kInvalid, "the program on {} says it uses bank {}", kHookNames[hook],
                    config.bank);
    }
    return std::nullopt;
}

Result<bool> ProgramArray::recover() const {
    std::map<weir_hook, Fd> next;
    for (const weir_hook hook : kFlipOrder) {
        auto program = open_pin(next_pin(hook));
        if (program) {
            next.emplace(hook, std::move(*program));
        } else if (program.error().code() != Errc::kNotFound) {
            return Failure(std::move(program).error());
        }
    }
    const bool complete = next.size() == kFlipOrder.size();
    if (complete) {
        for (const weir_hook hook : kFlipOrder)
            WEIR_CHECK(set(hook, next.at(hook).get()));
    }
    WEIR_CHECK(forget_takeover());
    return complete;
}

Result<void> ProgramArray::forget_takeover() const {
    for (const weir_hook hook : kFlipOrder)
        WEIR_TRY(unpin(next_pin(hook)));
    return {};
}

Result<void> ProgramArray::take_over(const LoadedPrograms& programs, uint32_t bank,
                                     const StepHook& step) const {
    std::array<int, WEIR_HOOK_COUNT> entries{};
    entries.fill(-1);
    for (const auto& [name, fd] : programs) {
        const auto place = program_place(name);
        if (!place) continue;
        if (!place->stage) {
            entries[place->hook] = fd;
            continue;
        }
        step("stage " + name);
        WEIR_CHECK(set(WEIR_STAGE_SLOT(bank, place->hook, *place->stage), fd));
    }
    for (const weir_hook hook : kFlipOrder) {
        if (entries[hook] < 0) return fail(Errc::kInternal, "no program {}", kHookNames[hook]);
    }
    for (const weir_hook hook : kFlipOrder) {
        step("pin next " + std::string(kHookNames[hook]));
        WEIR_CHECK(pin(entries[hook], next_pin(hook)));
    }
    for (const weir_hook hook : kFlipOrder) {
        step("flip " + std::string(kHookNames[hook]));
        WEIR_CHECK(set(hook, entries[hook]));
    }
    for (const weir_hook hook : kFlipOrder) {
        step("unpin next " + std::string(kHookNames[hook]));
        WEIR_TRY(unpin(next_pin(hook)));
    }
    return {};
}

Result<bool> ProgramArray::bank_is_empty(uint32_t bank) const {
    for (uint32_t slot = WEIR_STAGE_SLOT(bank, 0, 0); slot < WEIR_STAGE_SLOT(bank + 1, 0, 0);
         ++slot) {
        if (WEIR_TRY(program_id(slot)) != 0) return false;
    }
    return true;
}

Result<bool> ProgramArray::clear_bank(uint32_t bank) const {
    bool any = false;
    for (uint32_t slot = WEIR_STAGE_SLOT(bank, 0, 0); slot < WEIR_STAGE_SLOT(bank + 1, 0, 0);
         ++slot) {
        any |= WEIR_TRY(map_->erase(&slot));
    }
    return any;
}

}  // namespace weir::datapath
