// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "native/host/machine.h"
#include "weir/config.h"

namespace weir::native {

/// One bpf/NAME.bpf.c compiled for the host as a shared library. Its maps are those of the BPF
/// object of the same source, shared by name with the objects loaded before, as pins do. Failures
/// throw.
class Object {
  public:
    explicit Object(const std::string& name);
    Object(const Object&) = delete;
    Object& operator=(const Object&) = delete;
    ~Object();

    [[nodiscard]] Machine::Program program(const std::string& name) const;
    /// Null if the object has no such program.
    [[nodiscard]] Machine::Program find_program(const std::string& name) const;
    /// The read-only data `cfg`, as a loader sets it before load.
    void configure(const weir_config& config);

  private:
    [[nodiscard]] void* symbol(const std::string& name) const;
    void add_maps(const std::string& file);

    std::string name_;
    void* library_;
};

}  // namespace weir::native
