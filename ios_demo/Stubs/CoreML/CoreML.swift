// Stand-in, not Apple's: a "model" that computes the formula of tests/golden/README.md, so that the
// Kit's own code around Core ML can run. It says nothing of Core ML itself.
@_exported import CoreVideo

public enum MLComputeUnits: Int, Sendable { case cpuOnly, cpuAndGPU, all, cpuAndNeuralEngine }

public final class MLModelConfiguration {
    public var computeUnits: MLComputeUnits = .all
    public init() {}
}

public final class MLPredictionOptions {
    public init() {}
}

public enum MLMultiArrayDataType: Int, Sendable { case double, float32, float16, int32 }

/// Float16, planes with gaps between rows and channels.
public final class MLMultiArray {
    public let shape: [NSNumber]
    public let strides: [NSNumber]
    public let dataType: MLMultiArrayDataType
    private var memory: [UInt16]

    init(shape: [Int], dataType: MLMultiArrayDataType, fill: (_ index: [Int]) -> Float) {
        let row = shape[3] + 5
        let channel = shape[2] * row + 7
        let steps = [shape[1] * channel, channel, row, 1]
        self.shape = shape.map { NSNumber(value: $0) }
        strides = steps.map { NSNumber(value: $0) }
        self.dataType = dataType
        memory = [UInt16](repeating: 0x7E00, count: steps[0])
        for c in 0..<shape[1] {
            for y in 0..<shape[2] {
                for x in 0..<shape[3] {
                    memory[c * channel + y * row + x] = Float16(fill([0, c, y, x])).bitPattern
                }
            }
        }
    }

    public func withUnsafeBytes<Result>(
        _ body: (UnsafeRawBufferPointer) throws -> Result
    ) rethrows -> Result { try memory.withUnsafeBytes(body) }
}

public final class MLFeatureValue {
    public let imageBufferValue: CVPixelBuffer?
    public let multiArrayValue: MLMultiArray?
    public init(pixelBuffer: CVPixelBuffer) {
        imageBufferValue = pixelBuffer
        multiArrayValue = nil
    }
    public init(multiArray: MLMultiArray) {
        imageBufferValue = nil
        multiArrayValue = multiArray
    }
}

public protocol MLFeatureProvider {
    func featureValue(for name: String) -> MLFeatureValue?
}

public final class MLDictionaryFeatureProvider: MLFeatureProvider {
    private let values: [String: Any]
    public init(dictionary: [String: Any]) throws { values = dictionary }
    public func featureValue(for name: String) -> MLFeatureValue? {
        values[name] as? MLFeatureValue
    }
}

public final class MLModel {
    public struct Failure: Error {
        let reason: String
    }

    private let url: URL

    private init(url: URL) { self.url = url }

    /// A file that says "broken" in its name compiles and does not load on the Neural Engine.
    public static func load(
        contentsOf url: URL, configuration: MLModelConfiguration
    ) async throws -> MLModel {
        guard FileManager.default.fileExists(atPath: url.path) else {
            throw Failure(reason: "not there")
        }
        let marker = url.appendingPathComponent("no-neural-engine")
        if configuration.computeUnits == .cpuAndNeuralEngine,
            FileManager.default.fileExists(atPath: marker.path)
        {
            throw Failure(reason: "no Neural Engine")
        }
        return MLModel(url: url)
    }

    /// A copy of the package.
    public static func compileModel(at url: URL) async throws -> URL {
        let target = FileManager.default.temporaryDirectory
            .appendingPathComponent("\(UUID().uuidString).mlmodelc")
        try FileManager.default.copyItem(at: url, to: target)
        return target
    }

    public func prediction(
        from input: any MLFeatureProvider, options: MLPredictionOptions
    ) async throws -> any MLFeatureProvider {
        guard let image = input.featureValue(for: "image")?.imageBufferValue else {
            throw Failure(reason: "no image")
        }
        let (height, width) = (image.height, image.width)
        let delta = MLMultiArray(shape: [1, 3, height, width], dataType: .float16) { index in
            let (channel, row, column) = (index[1], index[2], index[3])
            // Channel 0 is red, the third byte of a BGRA pixel.
            let byte = row * image.bytesPerRow + 4 * column + 2 - channel
            let level = image.memory.load(fromByteOffset: byte, as: UInt8.self)
            let odd = (row + column + channel) % 2 == 1
            return min(max(4 * Float(level) / 255 - 2 + (odd ? 0.5 : -0.5), -1), 1)
        }
        return try MLDictionaryFeatureProvider(dictionary: [
            "delta": MLFeatureValue(multiArray: delta),
            "protected": MLFeatureValue(pixelBuffer: image),
        ])
    }
}
