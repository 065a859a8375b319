// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <boost/json.hpp>

#include "agent/api_types.h"
#include "cli/app.h"
#include "cli/exit_code.h"

namespace weir::cli {

int version_command(const Invocation& invocation) {
    print(fmt::format("weir    {}\n", WEIR_VERSION));
    const auto answer = invocation.client().get("/v1/status");
    const auto status = answer ? api::from_json<api::Status>(*answer)
                               : Result<api::Status>(Failure(Error(answer.error())));
    print(fmt::format("agent   {}\n", status ? status->version : "does not answer"));
    return kOk;
}

int completion_command(const Invocation& invocation) {
    Invocation unused;
    const auto app = make_app(unused);
    const auto script = completion_script(*app, invocation.shell);
    if (!script) return report(script.error());
    print(*script);
    return kOk;
}

}  // namespace weir::cli
