// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/result.h"

namespace weir::kube::api {

/// How the API server writes what it sends.
enum class Encoding : uint8_t { kProtobuf, kJson };

/// Cuts the body of a watch into its frames: length-delimited in protobuf, lines in JSON. Bytes
/// come as the network gives them.
class FrameReader {
  public:
    /// An object is bounded by etcd's request limit, 1.5 MiB unless raised; JSON may need several
    /// times the bytes.
    static constexpr size_t kMaxFrame = size_t{16} << 20;

    explicit FrameReader(Encoding encoding) : encoding_(encoding) {}
    void feed(std::string_view bytes) { buffer_ += bytes; }
    /// The next whole frame, valid until feed(); nothing: more bytes are needed. Fails, now and
    /// from then on, when a frame is over the limit.
    Result<std::optional<std::string_view>> next();
    /// Bytes of a frame whose rest has not come.
    [[nodiscard]] size_t partial() const { return buffer_.size() - at_; }

  private:
    void compact();

    Encoding encoding_;
    std::string buffer_;
    size_t at_ = 0;       ///< of the first byte not handed out
    size_t scanned_ = 0;  ///< JSON: no line ends before this
};

}  // namespace weir::kube::api
