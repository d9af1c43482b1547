@preconcurrency import CoreML
import CoreVideo
import RIDCore

/// A defender in Core ML, on given compute units.
///
/// Contract of the package (rid-export, target `coreml`): input `image`, a picture of `side` x
/// `side`; outputs `protected`, a picture, and `delta`, float16 [1, 3, side, side] in -1...1.
public actor CoreMLDefender: Defender {
    public nonisolated let side: Int
    public nonisolated let levels: Int
    public nonisolated let engine: String

    private let model: MLModel

    /// - Parameters:
    ///   - model: loaded with these compute units.
    ///   - metadata: of the package that the model was compiled from.
    ///   - units: for the name.
    /// - Throws: `RIDError.modelUnsupported`.
    public init(model: MLModel, metadata: ModelMetadata, units: ComputeUnits) throws {
        try metadata.checkCoreML()
        self.model = model
        side = metadata.resolution
        levels = metadata.levels
        engine = "Core ML, \(units.name)"
    }

    public func perturb(_ tile: FloatImage) async throws -> FloatImage {
        try await timedPerturb(tile).unit
    }

    /// `perturb`, and the seconds that its steps took.
    func timedPerturb(
        _ tile: FloatImage
    ) async throws -> (unit: FloatImage, seconds: Figures.Sample) {
        let clock = ContinuousClock()
        let begin = clock.now
        let buffer = try CVPixelBuffer.make(width: side, height: side)
        try buffer.withPixels { tile.scaled(by: 255).write(to: $0) }
        let encoded = clock.now
        let outputs = try await predict(buffer)
        let inferred = clock.now
        guard let delta = outputs.featureValue(for: "delta")?.multiArrayValue else {
            throw RIDError.notAPerturbation(engine: engine)
        }
        let unit = try FloatImage(delta: delta, side: side)
        let sample = Figures.Sample(
            pre: (encoded - begin).seconds, network: (inferred - encoded).seconds,
            post: (clock.now - inferred).seconds)
        return (unit, sample)
    }

    /// A tile straight through the network, at full strength: for a camera that needs exactly
    /// that. Larger photos: `Protection.protect(_:with:budget:)`.
    ///
    /// - Parameter tile: 32BGRA, `side` x `side`.
    /// - Returns: a buffer of Core ML's own, of the same size.
    public func protected(_ tile: CVPixelBuffer) async throws -> CVPixelBuffer {
        guard CVPixelBufferGetWidth(tile) == side, CVPixelBufferGetHeight(tile) == side else {
            throw RIDError.wrongSize("The network takes tiles of \(side) pixels.")
        }
        guard let result = try await predict(tile).featureValue(for: "protected"),
            let buffer = result.imageBufferValue
        else { throw RIDError.notAPerturbation(engine: engine) }
        return buffer
    }

    private func predict(_ buffer: CVPixelBuffer) async throws -> any MLFeatureProvider {
        let input = try MLDictionaryFeatureProvider(
            dictionary: ["image": MLFeatureValue(pixelBuffer: buffer)])
        return try await model.prediction(from: input, options: MLPredictionOptions())
    }
}

extension FloatImage {
    /// Reads the output `delta`, whatever its strides.
    ///
    /// - Throws: `RIDError.wrongSize` if it is no float16 array [1, 3, side, side].
    init(delta: MLMultiArray, side: Int) throws {
        let shape = delta.shape.map(\.intValue)
        guard delta.dataType == .float16, shape == [1, 3, side, side] else {
            throw RIDError.wrongSize("The network's delta has the shape \(shape).")
        }
        let strides = delta.strides.map(\.intValue)
        self = delta.withUnsafeBytes { bytes in
            PlanarHalf(
                base: bytes.baseAddress!, height: side, width: side, channelStride: strides[1],
                rowStride: strides[2], columnStride: strides[3]
            ).interleaved()
        }
    }

    /// All values times `factor`.
    fileprivate func scaled(by factor: Float) -> FloatImage {
        FloatImage(height: height, width: width, values: values.map { $0 * factor })
    }
}

extension Duration {
    /// As a floating-point number.
    var seconds: Double {
        Double(components.seconds) + Double(components.attoseconds) * 1e-18
    }
}
