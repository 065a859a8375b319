// SPDX-License-Identifier: Apache-2.0
// weir-cni: the CNI plugin. It asks the agent of the node; all that it keeps itself is the queue of
// DELs that no agent answered.
#include <array>
#include <cerrno>
#include <cstdlib>
#include <string>

#include <unistd.h>

#include "cni/plugin.h"
#include "common/cni_protocol.h"

namespace {

// Up to one byte more than is accepted, so that what is too long is seen to be.
std::string read_input() {
    std::string input;
    std::array<char, 16384> chunk{};
    while (input.size() <= weir::cni::kMaxMessage) {
        const ssize_t n = ::read(STDIN_FILENO, chunk.data(), chunk.size());
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        input.append(chunk.data(), static_cast<size_t>(n));
    }
    return input;
}

bool write_output(std::string_view output) {
    while (!output.empty()) {
        const ssize_t n = ::write(STDOUT_FILENO, output.data(), output.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return false;
        output.remove_prefix(static_cast<size_t>(n));
    }
    return true;
}

std::string variable(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? std::string() : std::string(value);
}

}  // namespace

int main() {
    const weir::cni::Ending ending = weir::cni::run(variable, read_input());
    return write_output(ending.output) ? ending.exit_code : 1;
}
