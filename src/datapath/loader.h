// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "datapath/bpf_object.h"
#include "datapath/maps.h"
#include "datapath/pins.h"
#include "datapath/policy_tables.h"
#include "datapath/programs.h"
#include "weir/config.h"

namespace weir::datapath {

/// The BPF objects of one build of Weir.
struct Build {
    ObjectImage stub;  ///< what stays attached: stub_<hook>
    ObjectImage pod;   ///< pod_from, pod_to and their stages
    ObjectImage host;  ///< dev_in, dev_out and their stages, sweep_start
    ObjectImage sock;  ///< cgroup programs
    [[nodiscard]] std::vector<ObjectImage> all() const { return {stub, pod, host, sock}; }
};

/// A build's programs, loaded and not in force.
class LoadedBuild {
  public:
    /// Loads pod, host and sock with `config`, and makes their tables of policy. A failure changes
    /// nothing that is in force.
    static Result<LoadedBuild> load(const Build& build, const weir_config& config,
                                    const MapSet& maps, const PolicySizes& policy_sizes);

    [[nodiscard]] const weir_config& config() const { return config_; }
    /// Programs of the pod and host objects by name.
    [[nodiscard]] const LoadedPrograms& tc() const { return tc_; }
    /// Those of these programs alone.
    [[nodiscard]] const PolicyMaps& policy() const { return policy_; }
    /// A program of the sock object and where it attaches.
    struct SockProgram {
        std::string name;
        int fd;
        unsigned attach_type;
    };
    [[nodiscard]] const std::vector<SockProgram>& sock() const { return sock_; }
    /// Instructions the verifier walked for each program, by name.
    [[nodiscard]] Result<std::map<std::string, uint32_t>> verified_instructions() const;

  private:
    explicit LoadedBuild(const weir_config& config) : config_(config) {}
    Result<void> load_tc(const ObjectImage& image, const MapSet& maps,
                         const PolicySizes& policy_sizes);
    Result<void> load_sock(const ObjectImage& image, const MapSet& maps);

    weir_config config_;
    std::vector<BpfObject> objects_;  // own the descriptors below
    LoadedPrograms tc_;
    PolicyMaps policy_;
    std::vector<SockProgram> sock_;
};

/// Makes sure that progs/stub_<hook> are pinned for all hooks. Stubs found are kept whatever build
/// they came from, so that filters and links on devices never change.
Result<void> ensure_stubs(const ObjectImage& image, const MapSet& maps, const PinDir& pins,
                          const StepHook& step);

}  // namespace weir::datapath
