import Foundation
import RIDCore
import os

/// What a report says of the device.
enum Device {
    /// Name and version of the system.
    static var system: String {
        #if os(macOS)
        let name = "macOS"
        #else
        let name = "iOS"
        #endif
        let version = ProcessInfo.processInfo.operatingSystemVersion
        return "\(name) \(version.majorVersion).\(version.minorVersion).\(version.patchVersion)"
    }

    /// How hot it is, in the system's words.
    static var thermalState: String {
        switch ProcessInfo.processInfo.thermalState {
        case .nominal: return "nominal"
        case .fair: return "fair"
        case .serious: return "serious"
        case .critical: return "critical"
        @unknown default: return "unknown"
        }
    }

    /// - Parameter thermal: states before and after.
    static func machine(thermal: [String]) -> BenchmarkReport.Machine {
        let process = ProcessInfo.processInfo
        return BenchmarkReport.Machine(
            name: hardware, cpu: hardware, architecture: architecture,
            cores: process.activeProcessorCount, memoryBytes: Int(process.physicalMemory),
            system: system, thermal: thermal, lowPower: process.isLowPowerModeEnabled)
    }

    /// Identifier of the model, such as `iPhone16,1`.
    private static var hardware: String {
        var size = 0
        guard sysctlbyname("hw.machine", nil, &size, nil, 0) == 0, size > 1 else {
            return "unknown device"
        }
        var name = [CChar](repeating: 0, count: size)
        guard sysctlbyname("hw.machine", &name, &size, nil, 0) == 0 else {
            return "unknown device"
        }
        return String(cString: name)
    }

    private static var architecture: String {
        #if arch(arm64)
        return "arm64"
        #else
        return "x86_64"
        #endif
    }
}
