// SPDX-License-Identifier: Apache-2.0
// Whatever comes on stdin, and whatever a socket answers, is refused or understood: no crash, and
// what the plugin prints is JSON.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "cni/client.h"
#include "cni/config.h"
#include "cni/result.h"

namespace {

void must_be_json(const std::string& text) {
    boost::json::error_code failed;
    boost::json::parse(text, failed);
    if (failed) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace weir::cni;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    constexpr std::array kCommands = {Command::kAdd, Command::kDel, Command::kCheck, Command::kGc,
                                      Command::kStatus};
    for (const Command command : kCommands) {
        const auto config = read_config(text, command);
        if (!config) {
            must_be_json(render_failure(config.error(), version_of(text)));
            continue;
        }
        Environment environment;
        environment.command = command;
        must_be_json(boost::json::serialize(make_request(*config, environment)));
        if (const auto result = render_result(config->raw, config->version)) must_be_json(*result);
    }
    (void)parse_answer(text);
    return 0;
}
