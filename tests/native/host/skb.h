// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <linux/bpf.h>

namespace weir::native {

/// A packet as a tc program sees it: a linear part that it may read and write directly, below 4 GiB
/// because the pointers in __sk_buff have 32 bits, and a rest that only helpers reach. Bytes around
/// the linear part are poisoned, and every helper after which the kernel's verifier calls pointers
/// into the packet stale moves the linear part, so that the address sanitizer sees both kinds of
/// bug.
class Skb {
  public:
    /// `linear`: bytes of the linear part, cut to the packet's length.
    Skb(std::span<const uint8_t> packet, size_t linear);
    Skb(const Skb&) = delete;
    Skb& operator=(const Skb&) = delete;
    ~Skb();

    [[nodiscard]] __sk_buff* context() { return &context_; }
    static Skb& of(const void* context);

    [[nodiscard]] std::vector<uint8_t> bytes() const;
    [[nodiscard]] size_t size() const { return context_.len; }

    /// As the helpers of these names answer: 0 or -errno.
    long load(uint32_t offset, void* to, uint32_t size) const;
    long store(uint32_t offset, const void* from, uint32_t size);
    long pull(uint32_t size);
    /// Replaces everything and makes it linear.
    void assign(std::span<const uint8_t> packet);

  private:
    void place(std::span<const uint8_t> packet, size_t linear);
    void hide();

    __sk_buff context_{};
    std::vector<uint8_t> rest_;
    size_t half_ = 0;  ///< of the arena, which of the two the linear part is in
};

}  // namespace weir::native
