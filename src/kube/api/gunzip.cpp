// SPDX-License-Identifier: Apache-2.0
#include "kube/api/gunzip.h"

#include <array>
#include <memory>

#include <zlib.h>

namespace weir::kube::api {
namespace {

constexpr int kGzipWindow = 15 + 16;  // the largest window, and a gzip header

}  // namespace

Result<std::string> gunzip(std::string_view compressed, size_t limit) {
    z_stream stream{};
    if (::inflateInit2(&stream, kGzipWindow) != Z_OK) {
        return fail(Errc::kInternal, "zlib cannot be initialised");
    }
    const std::unique_ptr<z_stream, int (*)(z_stream*)> guard(&stream, &::inflateEnd);
    // zlib's interface knows no const; it does not write there.
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(compressed.data()));
    stream.avail_in = static_cast<uInt>(compressed.size());
    std::string out;
    std::array<char, 65536> chunk;
    for (;;) {
        stream.next_out = reinterpret_cast<Bytef*>(chunk.data());
        stream.avail_out = chunk.size();
        const int code = ::inflate(&stream, Z_NO_FLUSH);
        const size_t got = chunk.size() - stream.avail_out;
        if (code != Z_OK && code != Z_STREAM_END) {
            return fail(Errc::kInvalid, "damaged or incomplete gzip data");
        }
        if (got > limit - out.size()) {
            return fail(Errc::kInvalid, "over {} MiB of content after decompression", limit >> 20);
        }
        out.append(chunk.data(), got);
        if (code != Z_STREAM_END) continue;
        if (stream.avail_in == 0) return out;
        ::inflateReset(&stream);  // another member follows
    }
}

}  // namespace weir::kube::api
