// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>
#include <type_traits>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace weir::lb {

/// The same in every build and on every machine: ids made of it live in pinned maps.
inline uint64_t stable_hash(std::string_view text) {
    return XXH3_64bits(text.data(), text.size());
}

/// Of a key by its bytes.
template <typename Key>
uint64_t hash_of(const Key& key) {
    static_assert(std::has_unique_object_representations_v<Key>);
    return XXH3_64bits(&key, sizeof key);
}

}  // namespace weir::lb
