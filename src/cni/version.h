// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <compare>
#include <string_view>

#include "cni/failure.h"

namespace weir::cni {

/// The versions of the specification whose results the plugin can give, oldest first.
inline constexpr std::array<std::string_view, 4> kSupportedVersions = {"0.3.1", "0.4.0", "1.0.0",
                                                                       "1.1.0"};
inline constexpr std::string_view kNewestVersion = kSupportedVersions.back();

/// A supported version; compares by age.
class Version {
  public:
    /// Code kVersion for anything else.
    static Outcome<Version> parse(std::string_view text);
    static Version newest() { return Version(kSupportedVersions.size() - 1); }

    [[nodiscard]] std::string_view text() const { return kSupportedVersions[index_]; }
    [[nodiscard]] bool has_check() const { return text() >= "0.4.0"; }
    [[nodiscard]] bool has_gc_and_status() const { return text() >= "1.1.0"; }
    [[nodiscard]] bool marks_address_family() const { return text() < "1.0.0"; }

  private:
    explicit Version(size_t index) : index_(index) {}
    size_t index_;
};

}  // namespace weir::cni
