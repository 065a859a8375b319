// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "common/fd.h"
#include "common/result.h"
#include "datapath/map.h"
#include "datapath/pins.h"
#include "weir/config.h"
#include "weir/limits.h"

/// The program array behind the stubs: which slot a program belongs in, which bank is in use, and
/// how one build takes over from another.
namespace weir::datapath {

/// By enum weir_hook: the names of the entry programs, and of the pinned stubs after "stub_".
inline constexpr std::array<std::string_view, WEIR_HOOK_COUNT> kHookNames = {"pod_from", "pod_to",
                                                                             "dev_in", "dev_out"};

/// Where a program goes by its name: `<hook>` is an entry, `<hook>_<stage>` a stage of it.
struct ProgramPlace {
    weir_hook hook;
    std::optional<weir_stage> stage;  ///< none: the hook's entry
    bool operator==(const ProgramPlace&) const = default;
};
/// None: the name is of neither form.
std::optional<ProgramPlace> program_place(std::string_view name);

/// The order in which entries change over. First the hooks that finish flows which others have
/// begun, then those that begin them: what a new entry program writes is met by new ones.
inline constexpr std::array<weir_hook, WEIR_HOOK_COUNT> kFlipOrder = {
    WEIR_HOOK_POD_TO, WEIR_HOOK_DEV_OUT, WEIR_HOOK_POD_FROM, WEIR_HOOK_DEV_IN};

/// A build's loaded tc programs by name; descriptors borrowed.
using LoadedPrograms = std::map<std::string, int, std::less<>>;

/// The configuration that a loaded program carries in its read-only data; kNotFound: it has none.
Result<weir_config> read_program_config(int program_fd);

/// The program array. Changes in an order that lets a killed writer's successor go on:
///
///   stages into the idle bank -> entries pinned as progs/next_<hook> -> entries into their slots
///   -> next_* unpinned -> (grace period) -> stages of the old bank removed
///
/// A complete set of next_* pins is a takeover to finish; an incomplete one was not begun, or is
/// done.
class ProgramArray {
  public:
    ProgramArray(const RawMap& map, const PinDir& pins) : map_(&map), pins_(&pins) {}

    /// Finishes or forgets the takeover of an agent that died in it. True: finished one.
    [[nodiscard]] Result<bool> recover() const;
    /// The bank of the entry programs in force; none: no entry is set.
    [[nodiscard]] Result<std::optional<uint32_t>> live_bank() const;
    /// Id of the program in a slot; 0: empty.
    [[nodiscard]] Result<uint32_t> program_id(uint32_t slot) const;
    /// Puts a build's stages into `bank`, which must be idle, and then its entries in force.
    [[nodiscard]] Result<void> take_over(const LoadedPrograms& programs, uint32_t bank,
                                         const StepHook& step) const;
    /// Empties the stages of `bank`; nothing may run in it any more. True: something was there.
    [[nodiscard]] Result<bool> clear_bank(uint32_t bank) const;
    [[nodiscard]] Result<bool> bank_is_empty(uint32_t bank) const;

  private:
    [[nodiscard]] Result<void> set(uint32_t slot, int program_fd) const;
    [[nodiscard]] std::string next_pin(weir_hook hook) const;
    [[nodiscard]] Result<void> forget_takeover() const;

    const RawMap* map_;
    const PinDir* pins_;
};

}  // namespace weir::datapath
