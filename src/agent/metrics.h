// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kube/api/event_note.h"
#include "kube/api/state.h"
#include "weir/event.h"

namespace weir::metrics {

/// What is read at scrape time, by the agent, from the kernel and from itself.
struct Snapshot {
    std::chrono::steady_clock::time_point taken = std::chrono::steady_clock::now();
    struct Table {
        std::string name;
        uint64_t entries = 0;
        uint64_t capacity = 0;
        uint64_t bytes = 0;
    };
    struct Pool {
        std::string family;
        uint64_t used = 0;
        uint64_t cooling = 0;
        uint64_t capacity = 0;
    };
    /// Sum over CPUs, [reason][direction].
    std::array<std::array<weir_count, WEIR_DIRECTIONS>, WEIR_DROP_REASONS> drops{};
    /// Sum over CPUs, by enum weir_counter.
    std::array<uint64_t, WEIR_COUNTERS> counters{};
    std::vector<Table> tables;
    std::vector<Pool> pools;
    std::vector<kube::api::KindState> api_kinds;  ///< empty without an API server
    std::optional<bool> leading;                  ///< nothing without one
    kube::api::EventCounts events;
    std::map<std::string, uint64_t> problems;  ///< by kind of object
    uint64_t pods = 0;
    uint64_t policies = 0;
    uint64_t pods_closed = 0;
    uint64_t pods_late = 0;
    uint64_t services = 0;
    uint64_t backends = 0;
    uint64_t flow_readers = 0;
    uint64_t flow_reader_lost = 0;
    std::map<std::string, uint64_t> api_refused;  ///< by reason, of the local API and this listener
    bool ready = false;
    bool tables_readable = true;  ///< false: kernel values are left out rather than shown as 0
};

struct BuildInfo {
    std::string version;
    std::string commit;
};

/// Everything under /metrics. Label values come from fixed lists or from this node's few tables, so
/// the number of series does not grow with Services, pods or flows. The instruments may be used
/// from any thread.
class Metrics {
  public:
    /// `collect` is called once a render, on the thread that renders.
    Metrics(const BuildInfo& build, std::function<Snapshot()> collect);
    ~Metrics();
    Metrics(const Metrics&) = delete;
    Metrics& operator=(const Metrics&) = delete;

    using Seconds = std::chrono::duration<double>;
    /// From an object's event to the kernel tables, one observation for each batch.
    void programmed(Seconds seconds);
    /// As kube-proxy's metric of the name: from the last change of a Service's endpoints, as the
    /// cluster stamped it, to the tables.
    void network_programmed(Seconds seconds);
    /// `command` as in the CNI specification, in any case; unknown ones are counted as "other".
    /// Code 0: success.
    void cni_request(std::string_view command, unsigned code, Seconds seconds);

    /// The text exposition format.
    [[nodiscard]] std::string render() const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// Resident memory of this process, bytes; 0 if /proc is not there.
uint64_t resident_bytes();

/// docs/metrics.md and docs/drop-reasons.md.
std::string metrics_reference();
std::string drop_reasons_reference();

}  // namespace weir::metrics
