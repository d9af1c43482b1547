import CoreML

/// What Core ML may compute with.
public enum ComputeUnits: String, Sendable, CaseIterable, Identifiable {
    case neuralEngine
    case gpu
    case cpu

    public var id: String { rawValue }

    /// For people.
    public var name: String {
        switch self {
        case .neuralEngine: return "CPU and Neural Engine"
        case .gpu: return "CPU and GPU"
        case .cpu: return "CPU"
        }
    }

    var coreML: MLComputeUnits {
        switch self {
        case .neuralEngine: return .cpuAndNeuralEngine
        case .gpu: return .cpuAndGPU
        case .cpu: return .cpuOnly
        }
    }
}
