// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lb/backends.h"
#include "lb/id_index.h"
#include "lb/id_pool.h"
#include "lb/planner.h"
#include "lb/ranges.h"
#include "lb/slots.h"
#include "lb/vips.h"
#include "model/lb_writes.h"

namespace weir::lb {

/// max_entries of the kernel's maps; of the arrays, index 0 is never used.
struct Capacities {
    uint32_t vips;
    uint32_t services;
    uint32_t slots;
    uint32_t backends;
    uint32_t ranges;
};

/// Something that does not work as asked, for status output.
struct Problem {
    enum class Cause : uint8_t { kNoRoom, kRangesNoRoom, kAddressTaken };
    Cause cause = Cause::kNoRoom;
    PortName name;     ///< what is not, or not all, in force
    std::string text;  ///< what, why, until when
};

struct TableUse {
    std::string_view table;
    uint32_t used;
    uint32_t capacity;
};

/// The load-balancing tables: owns service indices, backend ids, slots and VIPs, and says which
/// writes turn what the kernel has into what is wanted. Does no I/O and never waits: it takes for
/// granted that transactions are written in the order in which they were returned, and hears of
/// grace periods by grace_elapsed. One thread.
///
/// A Service port that does not fit is refused whole: its old state stays in force, it is listed by
/// problems() and tried again whenever room was made. Source ranges that do not fit are the
/// exception: the old state might admit who must not be, so the port is programmed and its
/// restricted addresses admit only those who were admitted before and are to be.
class Tables {
  public:
    explicit Tables(Capacities capacities);
    Tables(const Tables&) = delete;
    Tables& operator=(const Tables&) = delete;
    Tables(Tables&&) = delete;
    Tables& operator=(Tables&&) = delete;
    ~Tables() = default;

    /// Takes over what the kernel holds, before the first apply: service indices by port id,
    /// backend ids by address, extents where they are intact. Tolerates whatever a crash between
    /// any two writes left; what is inconsistent is written anew by the apply that wants it. Then:
    /// one apply with all Service ports, and finish_adoption.
    void adopt(const model::LbImage& image);
    /// Removes what was adopted and no apply has wanted: once, after the first apply.
    [[nodiscard]] model::LbTransaction finish_adoption();

    /// Brings Service ports to what they should be. An id in both lists is a new Service port.
    [[nodiscard]] model::LbTransaction apply(Changes changes);

    /// Every transaction up to the one with this token is written and its readers have finished:
    /// frees what they left behind, and tries refused ports again.
    [[nodiscard]] model::LbTransaction grace_elapsed(model::GraceToken token);

    /// Moves backends without an extent on (see BackendTable); to be called every few seconds.
    /// `now` is of any steady clock. Times in seconds.
    [[nodiscard]] model::LbTransaction age(uint64_t now, uint64_t linger, const AddressUseOf& use);

    [[nodiscard]] std::vector<Problem> problems() const;
    /// Usage by table, for metrics: the order is vips, services, slots, backends, ranges.
    [[nodiscard]] std::vector<TableUse> usage() const;
    /// Name of the Service port that has this index; nullopt: none.
    [[nodiscard]] std::optional<PortName> name_of(uint32_t service) const;
    /// Every Service port that has an index and a name.
    void for_each_name(const std::function<void(uint32_t, const PortName&)>& visit) const;
    /// Index of a Service port; 0: none.
    [[nodiscard]] uint32_t index_of(uint64_t id) const;

  private:
    struct Port {
        weir_service kernel{};  ///< the entry as the kernel has it once all is written
        uint64_t id = 0;        ///< 0: the index is free, or waits for its grace period
        PortName name;          ///< of no Service: adopted, not wanted yet
        model::Text created;
        std::vector<PlanVip> vips;
        /// False for an adopted extent that is not what it should be: it is replaced, and its room
        /// was not taken.
        std::array<bool, WEIR_SCOPES> intact = {true, true};
    };
    struct Waiting {
        ServicePortPlan plan;
        std::string why;
        bool closed = false;  ///< programmed, but for its source ranges
    };
    /// What becomes free when a grace period has passed.
    struct Batch {
        model::GraceToken token = 0;
        std::vector<uint32_t> services;
        std::vector<uint64_t> extents;
        std::vector<uint32_t> drained;
        std::vector<uint32_t> freed_backends;
        std::vector<RangeTable::Retired> ranges;
    };
    /// A live entry as it was before the transaction.
    struct Changed {
        uint32_t index;
        weir_service before;
        bool external;  ///< had external addresses
    };
    /// A transaction in the making.
    struct Draft {
        std::vector<model::LbWrite> first;  ///< what no reader reaches yet, and admissions
        std::vector<model::LbWrite> last;   ///< admissions that end
        std::vector<uint32_t> created;      ///< new service indices
        std::vector<Changed> changed;       ///< each index once
        std::vector<bool> listed;           ///< indices in created or changed
        Batch left;
    };
    struct Placement {
        std::array<uint64_t, WEIR_SCOPES> extent{};
        std::array<bool, WEIR_SCOPES> fresh{};  ///< just placed, not in the kernel
        std::vector<uint32_t> created;          ///< backend ids
    };
    struct Order;  // of stores and VIPs within a transaction

    [[nodiscard]] bool senior(uint32_t a, uint32_t b) const;
    [[nodiscard]] auto id_hash() const;

    void upsert(ServicePortPlan plan, Draft& draft);
    void upsert_or_wait(Waiting& port, Draft& draft);
    /// False: programmed, but for its source ranges.
    [[nodiscard]] Result<bool> try_upsert(const ServicePortPlan& plan, Draft& draft);
    [[nodiscard]] Result<void> check_vips(const ServicePortPlan& plan, const Port* current) const;
    [[nodiscard]] Result<Placement> place(const ServicePortPlan& plan, const Port* current,
                                          Draft& draft);
    [[nodiscard]] Result<std::vector<uint32_t>> resolve(const std::vector<PlanBackend>& wanted,
                                                        model::Protocol protocol,
                                                        Placement& placement, Draft& draft);
    [[nodiscard]] Result<void> place_scope(const ServicePortPlan& plan, const Port* current,
                                           unsigned scope, Placement& placement, Draft& draft);
    void undo(const Placement& placement);
    [[nodiscard]] uint32_t create_port(uint64_t id, Draft& draft);
    void commit(const ServicePortPlan& plan, uint32_t index, const Placement& placement,
                Draft& draft);
    [[nodiscard]] bool commit_ranges(const ServicePortPlan& plan, uint32_t index, Draft& draft);
    void retire_ranges(uint32_t index, Draft& draft);
    void commit_extent(Port& port, unsigned scope, uint64_t extent, Draft& draft);
    void commit_vips(const ServicePortPlan& plan, uint32_t index);
    void note_change(uint32_t index, Draft& draft);
    void remove_port(uint32_t index, Draft& draft);
    void retry_waiting(Draft& draft);

    [[nodiscard]] model::LbTransaction finish(Draft draft);
    void write_live(const Draft& draft, const std::vector<VipTable::Change>& vips,
                    std::vector<model::LbWrite>& writes) const;
    void clear_services(const std::vector<uint32_t>& indices, std::vector<model::LbWrite>& writes);

    void adopt_service(uint32_t index, const model::LbImage& image, bool reached);
    [[nodiscard]] bool sound_extent(uint64_t extent, const model::LbImage& image) const;

    Capacities capacities_;
    IdPool service_pool_;
    std::vector<Port> ports_;  ///< by service index
    IdIndex by_id_;
    SlotTable slots_;
    BackendTable backends_;
    VipTable vips_;
    RangeTable ranges_;
    std::map<uint64_t, Waiting> waiting_;  ///< refused, by id
    std::deque<Batch> batches_;            ///< waiting for their grace period
    model::GraceToken last_token_ = 0;
    /// Until finish_adoption an adopted address may still lead to a port, restricted as it was:
    /// ports that need no ranges any more keep theirs so long.
    bool adopting_ = false;
    std::vector<uint32_t> retire_later_;
    std::vector<model::LbWrite> repairs_;  ///< found by adopt, for the next transaction
};

}  // namespace weir::lb
