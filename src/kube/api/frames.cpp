// SPDX-License-Identifier: Apache-2.0
#include "kube/api/frames.h"

namespace weir::kube::api {
namespace {

constexpr size_t kLengthBytes = 4;

size_t big_endian(std::string_view bytes) {
    size_t value = 0;
    for (const char byte : bytes)
        value = value << 8 | static_cast<uint8_t>(byte);
    return value;
}

Failure too_big() {
    return fail(Errc::kInvalid, "a watch frame of over {} MiB", FrameReader::kMaxFrame >> 20);
}

}  // namespace

void FrameReader::compact() {
    buffer_.erase(0, at_);
    scanned_ -= std::min(scanned_, at_);
    at_ = 0;
    // One big object must not hold its memory for as long as the watch lasts.
    if (buffer_.capacity() > (size_t{1} << 20) && buffer_.size() < (size_t{1} << 16)) {
        buffer_.shrink_to_fit();
    }
}

Result<std::optional<std::string_view>> FrameReader::next() {
    const std::string_view rest = std::string_view(buffer_).substr(at_);
    if (encoding_ == Encoding::kProtobuf) {
        if (rest.size() < kLengthBytes) {
            compact();
            return std::nullopt;
        }
        const size_t size = big_endian(rest.substr(0, kLengthBytes));
        if (size > kMaxFrame) return too_big();
        if (rest.size() - kLengthBytes < size) {
            compact();
            return std::nullopt;
        }
        at_ += kLengthBytes + size;
        return rest.substr(kLengthBytes, size);
    }
    const size_t end = buffer_.find('\n', std::max(at_, scanned_));
    if (end == std::string::npos) {
        if (rest.size() > kMaxFrame) return too_big();
        scanned_ = buffer_.size();
        compact();
        return std::nullopt;
    }
    const std::string_view line = std::string_view(buffer_).substr(at_, end - at_);
    if (line.size() > kMaxFrame) return too_big();
    at_ = end + 1;
    return line;
}

}  // namespace weir::kube::api
