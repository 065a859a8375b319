// SPDX-License-Identifier: Apache-2.0
#include "datapath/cleanup.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <functional>
#include <set>
#include <thread>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>
#include <unistd.h>

#include "datapath/clsact.h"
#include "datapath/map.h"

namespace weir::datapath {
namespace {

using Ids = std::set<uint32_t>;

/// Ids of the maps pinned; what uses one of them is ours.
Ids pinned_map_ids(const PinDir& pins) {
    Ids ids;
    for (const std::string& name : list_pins(pins.maps())) {
        auto fd = open_pin(pins.map(name));
        if (!fd) continue;
        if (const auto map = RawMap::from(std::move(*fd))) ids.insert(map->info().id);
    }
    return ids;
}

struct ProgramFacts {
    std::string name;
    bool ours = false;
};

ProgramFacts program_facts(uint32_t id, const Ids& our_maps) {
    const int fd = bpf_prog_get_fd_by_id(id);
    if (fd < 0) return {};
    const Fd program(fd);
    std::vector<uint32_t> used(64);
    bpf_prog_info info{};
    info.nr_map_ids = static_cast<uint32_t>(used.size());
    info.map_ids = reinterpret_cast<uintptr_t>(used.data());
    uint32_t length = sizeof info;
    if (bpf_obj_get_info_by_fd(fd, &info, &length) != 0) return {};
    used.resize(std::min<size_t>(info.nr_map_ids, used.size()));
    return {.name = info.name, .ours = std::ranges::any_of(used, [&](uint32_t map) {
                                   return our_maps.contains(map);
                               })};
}

/// Calls `visit` with every id the kernel has of a kind.
void for_each_id(int (*next)(uint32_t, uint32_t*), const std::function<void(uint32_t)>& visit) {
    uint32_t id = 0;
    while (next(id, &id) == 0)
        visit(id);
}

std::string device_name(uint32_t ifindex) {
    std::array<char, IF_NAMESIZE> name{};
    if (::if_indextoname(ifindex, name.data()) != nullptr) return name.data();
    return fmt::format("device {}", ifindex);
}

class Cleaner {
  public:
    explicit Cleaner(const PinDir& pins)
        : pins_(pins), filters_(pins), maps_(pinned_map_ids(pins)) {}

    Cleaned run() {
        remove_pins(pins_.links(), "link");
        detach_links();
        detach_filters();
        remove_qdiscs();
        remove_pins(pins_.progs(), "program");
        note_remaining();
        remove_pins(pins_.maps(), "map");
        wait_for_maps();
        for (const auto& dir : {pins_.links(), pins_.progs(), pins_.maps(), pins_.qdiscs(),
                                pins_.root(), pins_.root().parent_path()}) {
            remove_directory(dir);
        }
        return std::move(report_);
    }

  private:
    void remove_pins(const std::filesystem::path& dir, std::string_view kind) {
        for (const std::string& name : list_pins(dir)) {
            const auto gone = unpin(dir / name);
            if (!gone) {
                report_.failed.push_back(gone.error().message());
            } else if (*gone) {
                report_.removed.push_back(fmt::format("{} {}", kind, name));
            }
        }
    }

    /// Links whose pin is lost, or that a living agent holds.
    void detach_links() {
        for_each_id(bpf_link_get_next_id, [&](uint32_t id) {
            const int fd = bpf_link_get_fd_by_id(id);
            if (fd < 0) return;
            const Fd link(fd);
            bpf_link_info info{};
            uint32_t length = sizeof info;
            if (bpf_obj_get_info_by_fd(fd, &info, &length) != 0) return;
            const ProgramFacts program = program_facts(info.prog_id, maps_);
            if (!program.ours) return;
            if (const int error = bpf_link_detach(fd); error != 0) {
                report_.failed.push_back(
                    system_error(-error, fmt::format("detach link {} of {}", id, program.name))
                        .message());
            } else {
                report_.removed.push_back(fmt::format("link {} of {}", id, program.name));
            }
        });
    }

    void detach_filters() {
        struct if_nameindex* devices = ::if_nameindex();
        if (devices == nullptr) return;
        for (const struct if_nameindex* device = devices; device->if_index != 0; ++device) {
            for (const Direction direction : {Direction::kIngress, Direction::kEgress}) {
                detach_filter(device->if_index, device->if_name, direction);
            }
        }
        ::if_freenameindex(devices);
    }

    void detach_filter(uint32_t ifindex, std::string_view name, Direction direction) {
        const auto id = clsact_program(ifindex, direction);
        if (!id || !program_facts(*id, maps_).ours) return;
        const Result<void> done = filters_.detach(ifindex, direction);
        if (done) {
            report_.removed.push_back(fmt::format("filter on {}, {}", name, to_string(direction)));
        } else {
            report_.failed.push_back(done.error().message());
        }
    }

    /// Those of ours that nobody else uses by now.
    void remove_qdiscs() {
        for (const uint32_t ifindex : filters_.own_qdiscs()) {
            const auto removed = filters_.remove_qdisc(ifindex);
            const auto forgotten = filters_.disown_qdisc(ifindex);
            if (!removed) {
                report_.failed.push_back(removed.error().message());
            } else if (*removed) {
                report_.removed.push_back("clsact qdisc of " + device_name(ifindex));
            }
            if (!forgotten) report_.failed.push_back(forgotten.error().message());
        }
    }

    /// Returns when the kernel has freed the maps. Ids are compared, nothing is opened: a program
    /// array that is opened and closed again while the kernel empties it would never be freed.
    void wait_for_maps() const {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(3);
        bool any = true;
        while (any && std::chrono::steady_clock::now() < deadline) {
            any = false;
            for_each_id(bpf_map_get_next_id, [&](uint32_t id) { any = any || maps_.contains(id); });
            if (any) std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
    }

    /// The kernel frees a program some time after the last reference to it is gone.
    void note_remaining() {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(2);
        while (!(report_.remaining = stubs_left()).empty() &&
               std::chrono::steady_clock::now() < deadline) {
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
    }

    [[nodiscard]] std::vector<std::string> stubs_left() const {
        std::vector<std::string> left;
        for_each_id(bpf_prog_get_next_id, [&](uint32_t id) {
            const ProgramFacts program = program_facts(id, maps_);
            // The program array and the sweep's timer let go of theirs with the maps' pins.
            if (program.ours && program.name.starts_with("stub_")) {
                left.push_back(fmt::format("program {} ({})", id, program.name));
            }
        });
        return left;
    }

    void remove_directory(const std::filesystem::path& dir) {
        if (::rmdir(dir.c_str()) == 0) {
            report_.removed.push_back(fmt::format("directory {}", dir.string()));
        } else if (errno != ENOENT && errno != ENOTEMPTY) {
            report_.failed.push_back(
                system_error(errno, fmt::format("remove {}", dir.string())).message());
        }
    }

    const PinDir& pins_;
    ClsactFilters filters_;
    Ids maps_;
    Cleaned report_;
};

}  // namespace

Cleaned clean_up(const PinDir& pins) {
    return Cleaner(pins).run();
}

}  // namespace weir::datapath
