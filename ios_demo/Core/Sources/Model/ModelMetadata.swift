import Foundation

/// What an exported model says of itself: the JSON document under the key `RID_METADATA`.
///
/// In a package it is found by `ModelPackage`; a loaded `MLModel` has it among the creator-defined
/// strings of its description. Keys that are not known are ignored: later versions may add some.
public struct ModelMetadata: Sendable, Equatable, Decodable {
    /// Key of the document in the model's user-defined metadata.
    public static let key = "RID_METADATA"
    /// Version of the document that this code reads.
    public static let supportedSchema = 1

    /// An input or output of the network.
    public struct Tensor: Sendable, Equatable, Decodable {
        /// Name of the feature: `image`, `protected` or `delta`.
        public let name: String
        /// `float32`, `float16`, `uint8`, `int8`, or `image` (Core ML's image type).
        public let dtype: String
        /// With the batch of 1, in the layout of the file.
        public let shape: [Int]
    }

    /// `coreml`, `onnx` or `tflite`.
    public let format: String
    /// Name of the defender, such as `rid-s`.
    public let preset: String
    /// Bound of the perturbation in 8-bit levels.
    public let levels: Int
    /// Height and width of the input in pixels.
    public let resolution: Int
    /// `fp32`, `fp16`, `w8`, `pal8`, `w8a16` or `int8`.
    public let precision: String
    /// Order of axes: `nchw` or `nhwc`.
    public let layout: String
    public let inputs: [Tensor]
    public let outputs: [Tensor]
    /// SHA-256 of the checkpoint's weights.
    public let weights: String
    /// SHA-256 of the file, or package, outside the metadata block.
    public let network: String
    /// SPDX identifier of the weights' licence.
    public let licence: String
    /// Why the file must not be shipped; nil if it may.
    public let unfit: String?
    /// Version of the rid-defender that wrote it.
    public let version: String

    /// Parses the document.
    ///
    /// - Throws: `RIDError.modelDamaged` or `.modelUnsupported`.
    public init(json: Data) throws {
        struct Envelope: Decodable {
            let schema: Int
            let version: String?
        }
        let decoder = JSONDecoder()
        guard let envelope = try? decoder.decode(Envelope.self, from: json) else {
            throw RIDError.modelDamaged("its metadata has no schema version")
        }
        guard envelope.schema == Self.supportedSchema else {
            throw RIDError.modelUnsupported(
                "its metadata has schema \(envelope.schema), this app reads "
                    + "\(Self.supportedSchema); export it with the rid-defender the app was made "
                    + "with, not \(envelope.version ?? "another")")
        }
        do {
            self = try decoder.decode(Self.self, from: json)
        } catch {
            throw RIDError.modelDamaged("its metadata is incomplete")
        }
        _ = try Budget(levels: levels)
        guard resolution > 0 else { throw RIDError.modelDamaged("it states no resolution") }
    }

    /// Refuses a model that the Core ML engine of this package cannot run.
    ///
    /// - Throws: `RIDError.modelUnsupported`.
    public func checkCoreML() throws {
        let kinds = Dictionary(
            (inputs + outputs).map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        guard format == "coreml" else {
            throw RIDError.modelUnsupported("it is a \(format) file, not a Core ML package")
        }
        guard layout == "nchw", kinds["image"]?.dtype == "image", let delta = kinds["delta"],
            delta.dtype == "float16", delta.shape == [1, 3, resolution, resolution]
        else {
            throw RIDError.modelUnsupported(
                "it needs an image as input and a float16 delta as output; "
                    + "export it with: rid-export --target coreml")
        }
        if let unfit {
            throw RIDError.modelUnsupported("it was marked as unfit for use (\(unfit))")
        }
    }
}
