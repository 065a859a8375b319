// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "agent/api_types.h"
#include "kube/store.h"

/// Why a flow passes or not, from the objects alone: neither agent nor kernel is needed. A flow to
/// a Service is judged by the backend that is chosen, so it is asked about each.
namespace weir::agent {

struct ExplainQuery {
    std::string from;      ///< NAMESPACE/POD or an address
    std::string to;        ///< the same, or a Service by name or address
    std::string protocol;  ///< "" stands for TCP
    uint16_t port = 0;     ///< of the receiver; 0: of a protocol without ports
};

/// Both ends. kNotFound: no such pod or Service; kInvalid: what is asked makes no sense.
[[nodiscard]] Result<api::Explanation> explain_flow(const kube::Store& store,
                                                    const ExplainQuery& query);

}  // namespace weir::agent
