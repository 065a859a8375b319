// SPDX-License-Identifier: Apache-2.0
#include "model/types.h"

#include <algorithm>

namespace weir::model {

std::string_view to_string(Protocol protocol) {
    switch (protocol) {
        case Protocol::kTcp:
            return "TCP";
        case Protocol::kUdp:
            return "UDP";
        case Protocol::kSctp:
            return "SCTP";
    }
    return "?";
}

Result<Protocol> parse_protocol(std::string_view text) {
    for (const auto protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kSctp}) {
        if (text == to_string(protocol)) return protocol;
    }
    return fail(Errc::kInvalid, "protocol \"{}\" is none of TCP, UDP, SCTP", text);
}

bool LabelSelector::matches(const Labels& labels) const {
    return std::ranges::all_of(requirements, [&](const LabelRequirement& requirement) {
        const auto it = labels.find(requirement.key);
        const bool present = it != labels.end();
        const bool listed = present && std::ranges::find(requirement.values, it->second) !=
                                           requirement.values.end();
        switch (requirement.op) {
            case LabelRequirement::Op::kIn:
                return listed;
            case LabelRequirement::Op::kNotIn:
                return !listed;
            case LabelRequirement::Op::kExists:
                return present;
            case LabelRequirement::Op::kDoesNotExist:
                return !present;
        }
        return false;
    });
}

}  // namespace weir::model
