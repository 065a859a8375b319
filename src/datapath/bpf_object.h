// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "weir/config.h"

struct bpf_object;
struct bpf_map;
struct bpf_program;
struct btf;

namespace weir::datapath {

/// A compiled BPF object file in memory; `data` outlives every use.
struct ObjectImage {
    std::string name;
    std::span<const std::byte> data;
};

/// What a verifier log says: its last lines, and whether the kernel cut it short.
struct VerifierLog {
    std::string tail;  ///< at most kVerifierTailLines lines
    bool truncated = false;
};
inline constexpr size_t kVerifierTailLines = 20;
VerifierLog parse_verifier_log(std::string_view log);

/// Where the configuration (`cfg`, weir/config.h) is within the read-only data that `btf`
/// describes.
Result<size_t> find_config_offset(const btf* btf);

/// An opened libbpf object. One thread at a time.
class BpfObject {
  public:
    static Result<BpfObject> open(const ObjectImage& image);

    [[nodiscard]] const std::string& name() const { return name_; }
    /// Borrowed; valid as long as this object.
    [[nodiscard]] std::vector<bpf_map*> maps() const;
    [[nodiscard]] std::vector<bpf_program*> programs() const;

    /// Before load(). An object without configuration is fine.
    Result<void> set_config(const weir_config& config);
    /// Before load(): programs for which `wanted` is false are left out.
    Result<void> keep_programs(const std::function<bool(std::string_view)>& wanted);
    /// Creates maps that nobody provided and loads the programs. The error carries the end of the
    /// verifier's log.
    Result<void> load();

  private:
    struct Close {
        void operator()(bpf_object* object) const;
    };
    BpfObject(std::string name, bpf_object* object) : name_(std::move(name)), object_(object) {}

    std::string name_;
    std::unique_ptr<bpf_object, Close> object_;
};

}  // namespace weir::datapath
