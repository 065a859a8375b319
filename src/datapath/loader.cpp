// SPDX-License-Identifier: Apache-2.0
#include "datapath/loader.h"

#include <algorithm>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

namespace weir::datapath {
namespace {

/// Programs that no slot of the program array holds.
constexpr std::string_view kSweepProgram = "sweep_start";

Result<bpf_prog_info> program_info(int fd, std::vector<uint32_t>* map_ids = nullptr) {
    bpf_prog_info info{};
    if (map_ids != nullptr) {
        info.nr_map_ids = static_cast<uint32_t>(map_ids->size());
        info.map_ids = reinterpret_cast<uintptr_t>(map_ids->data());
    }
    uint32_t length = sizeof info;
    if (const int error = bpf_obj_get_info_by_fd(fd, &info, &length); error != 0) {
        return fail_errno(-error, "read the facts of a program");
    }
    return info;
}

/// A pinned stub must jump through our program array, or what it runs is somebody else's.
Result<void> check_stub(int fd, const MapSet& maps, const std::filesystem::path& path) {
    std::vector<uint32_t> ids(64);
    const bpf_prog_info info = WEIR_TRY(program_info(fd, &ids));
    ids.resize(std::min<size_t>(info.nr_map_ids, ids.size()));
    const RawMap* array = maps.find("weir_progs");
    const bool jumps = array != nullptr && std::ranges::find(ids, array->info().id) != ids.end();
    if (info.type == BPF_PROG_TYPE_SCHED_CLS && jumps) return {};
    return fail(Errc::kInvalid,
                "the program pinned at {} (\"{}\") is not a stub of this program array; run `weir "
                "cleanup`, or remove the pin, and start again",
                path.string(), info.name);
}

}  // namespace

/// The first of the objects makes the tables of policy, the others use them.
Result<void> LoadedBuild::load_tc(const ObjectImage& image, const MapSet& maps,
                                  const PolicySizes& policy_sizes) {
    auto object = WEIR_TRY(BpfObject::open(image));
    WEIR_CHECK(object.set_config(config_));
    WEIR_CHECK(maps.lend_to(object));
    WEIR_CHECK(PolicyMaps::set_sizes(object, policy_sizes));
    WEIR_CHECK(policy_.lend_to(object));
    for (const bpf_program* program : object.programs()) {
        const std::string_view name = bpf_program__name(program);
        if (name != kSweepProgram && !program_place(name)) {
            return fail(Errc::kInternal, "BPF object {}: the program {} has no place", image.name,
                        name);
        }
    }
    WEIR_CHECK(object.load());
    if (objects_.empty()) policy_ = WEIR_TRY(PolicyMaps::of(object));
    for (const bpf_program* program : object.programs()) {
        tc_.emplace(bpf_program__name(program), bpf_program__fd(program));
    }
    objects_.push_back(std::move(object));
    return {};
}

Result<void> LoadedBuild::load_sock(const ObjectImage& image, const MapSet& maps) {
    auto object = WEIR_TRY(BpfObject::open(image));
    WEIR_CHECK(object.set_config(config_));
    WEIR_CHECK(maps.lend_to(object));
    WEIR_CHECK(object.load());
    for (const bpf_program* program : object.programs()) {
        sock_.push_back(
            {.name = bpf_program__name(program),
             .fd = bpf_program__fd(program),
             .attach_type = static_cast<unsigned>(bpf_program__expected_attach_type(program))});
    }
    objects_.push_back(std::move(object));
    return {};
}

Result<LoadedBuild> LoadedBuild::load(const Build& build, const weir_config& config,
                                      const MapSet& maps, const PolicySizes& policy_sizes) {
    LoadedBuild loaded(config);
    const RawMap* events = maps.find("weir_events");
    if (events == nullptr) return fail(Errc::kInternal, "no BPF object has the map weir_events");
    loaded.config_.event_wake_mask = events->info().max_entries / WEIR_EVENT_PIECES - 1;
    WEIR_CHECK(loaded.load_tc(build.pod, maps, policy_sizes));
    WEIR_CHECK(loaded.load_tc(build.host, maps, policy_sizes));
    WEIR_CHECK(loaded.load_sock(build.sock, maps));
    for (const std::string_view hook : kHookNames) {
        if (!loaded.tc_.contains(hook)) return fail(Errc::kInternal, "no object has {}", hook);
    }
    return loaded;
}

Result<std::map<std::string, uint32_t>> LoadedBuild::verified_instructions() const {
    std::map<std::string, uint32_t> counts;
    for (const auto& [name, fd] : tc_)
        counts[name] = WEIR_TRY(program_info(fd)).verified_insns;
    for (const SockProgram& program : sock_) {
        counts[program.name] = WEIR_TRY(program_info(program.fd)).verified_insns;
    }
    return counts;
}

Result<void> ensure_stubs(const ObjectImage& image, const MapSet& maps, const PinDir& pins,
                          const StepHook& step) {
    std::vector<std::string> missing;
    for (const std::string_view hook : kHookNames) {
        const std::string name = "stub_" + std::string(hook);
        const auto pinned = open_pin(pins.prog(name));
        if (pinned) {
            WEIR_CHECK(check_stub(pinned->get(), maps, pins.prog(name)));
        } else if (pinned.error().code() == Errc::kNotFound) {
            missing.push_back(name);
        } else {
            return Failure(pinned.error());
        }
    }
    if (missing.empty()) return {};
    auto object = WEIR_TRY(BpfObject::open(image));
    WEIR_CHECK(maps.lend_to(object));
    WEIR_CHECK(object.keep_programs(
        [&](std::string_view name) { return std::ranges::find(missing, name) != missing.end(); }));
    WEIR_CHECK(object.load());
    size_t made = 0;
    for (const bpf_program* program : object.programs()) {
        const std::string name = bpf_program__name(program);
        if (std::ranges::find(missing, name) == missing.end()) continue;
        step("pin " + name);
        WEIR_CHECK(pin(bpf_program__fd(program), pins.prog(name)));
        ++made;
    }
    if (made == missing.size()) return {};
    return fail(Errc::kInternal, "BPF object {} lacks a stub of {}", image.name,
                fmt::join(missing, ", "));
}

}  // namespace weir::datapath
