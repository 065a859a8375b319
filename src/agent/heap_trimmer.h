// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <malloc.h>

namespace weir::agent {

/// Gives memory that big loads have left free back to the kernel; the allocator alone keeps
/// whatever lies below a block in use.
class HeapTrimmer {
  public:
    /// Cheap unless much has become free since the last time.
    void trim() {
        const size_t free_now = ::mallinfo2().fordblks;
        if (free_now < left_free_ + kWorthIt) return;
        ::malloc_trim(0);
        left_free_ = ::mallinfo2().fordblks;  // between what is in use; counted, but not resident
    }

  private:
    static constexpr size_t kWorthIt = size_t{4} << 20;
    size_t left_free_ = 0;
};

}  // namespace weir::agent
