// SPDX-License-Identifier: Apache-2.0
#include "datapath/datapath.h"

#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>

#include "datapath/programs.h"
#include "datapath/sweep.h"

namespace weir::datapath {
namespace {

/// One agent at a time owns the pins; the kernel lets go when it dies.
Result<Fd> lock_pins(const PinDir& pins) {
    const int raw = ::open(pins.root().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (raw < 0) return fail_errno(errno, "open {}", pins.root().string());
    Fd fd(raw);
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
    if (errno != EWOULDBLOCK) return fail_errno(errno, "lock {}", pins.root().string());
    return fail(
        Errc::kUnavailable,
        "another weir-agent works with {}: stop it first, or give this one another BPF file "
        "system",
        pins.root().string());
}

}  // namespace

Datapath::Datapath(Options options, PinDir pins, Fd lock, MapSet maps, Tables tables,
                   DeviceAttacher devices)
    : options_(std::move(options)),
      pins_(std::move(pins)),
      lock_(std::move(lock)),
      maps_(std::move(maps)),
      tables_(std::move(tables)),
      devices_(std::move(devices)),
      endpoints_(tables_),
      lb_(tables_, grace_) {}

Result<std::unique_ptr<Datapath>> Datapath::open(Options options) {
    const PinDir pins(options.bpffs);
    WEIR_CHECK(pins.create());
    Fd lock = WEIR_TRY(lock_pins(pins));
    auto maps = WEIR_TRY(MapSet::adopt(pins, options.build.all(), options.sizes, options.step));
    auto tables = WEIR_TRY(Tables::of(maps));
    const bool tcx = WEIR_TRY(probe_tcx());
    std::unique_ptr<Datapath> datapath(new Datapath(std::move(options), pins, std::move(lock),
                                                    std::move(maps), std::move(tables),
                                                    DeviceAttacher(pins, tcx)));
    WEIR_CHECK(datapath->prepare());
    return datapath;
}

Result<void> Datapath::prepare() {
    WEIR_CHECK(ensure_stubs(options_.build.stub, maps_, pins_, options_.step));
    recovered_ = WEIR_TRY(programs().recover());
    return endpoints_.adopt();
}

// A bank that is not live may hold stages of a takeover that was not finished, and packets may
// still be in them.
Result<uint32_t> Datapath::idle_bank() const {
    const std::optional<uint32_t> live = WEIR_TRY(programs().live_bank());
    const uint32_t idle = live ? (*live + 1) % WEIR_BANKS : 0;
    if (WEIR_TRY(programs().bank_is_empty(idle))) return idle;
    WEIR_CHECK(wait_grace_period());
    WEIR_TRY(programs().clear_bank(idle));
    return idle;
}

Result<void> Datapath::load(weir_config config) {
    config.bank = WEIR_TRY(idle_bank());
    auto loaded = WEIR_TRY(LoadedBuild::load(options_.build, config, maps_, options_.policy_sizes));
    options_.step("pin policy");
    WEIR_CHECK(loaded.policy().pin_as(pins_, config.bank));
    loaded_ = std::move(loaded);
    return {};
}

Result<PolicyWriter> Datapath::policy_writer(PolicyWriter::StoreWord store_word) {
    if (!loaded_) return fail(Errc::kInternal, "tables of policy before load");
    return PolicyWriter(WEIR_TRY(PolicyTables::of(loaded_->policy())), std::move(store_word),
                        grace_);
}

Result<Activation> Datapath::activate(SocketHooks hooks) {
    if (!loaded_) return fail(Errc::kInternal, "activate before load");
    Activation activation{.bank = WEIR_TRY(idle_bank())};
    if (activation.bank != loaded_->config().bank) {
        return fail(Errc::kInternal, "these programs are in force already: load again");
    }
    if (auto taken = programs().take_over(loaded_->tc(), activation.bank, options_.step); !taken) {
        WEIR_TRY(programs().recover());
        return Failure(std::move(taken).error());
    }
    options_.step("start sweep");
    WEIR_CHECK(start_sweep(*loaded_));
    if (hooks == SocketHooks::kOff) {
        activation.sock.removed = WEIR_TRY(detach_sock(pins_));
    } else {
        activation.sock =
            WEIR_TRY(attach_sock(loaded_->sock(), options_.cgroup_root, pins_, options_.step));
    }
    options_.step("clear old bank");
    const uint32_t idle = WEIR_TRY(idle_bank());
    WEIR_TRY(PolicyMaps::unpin(pins_, idle));
    return activation;
}

}  // namespace weir::datapath
