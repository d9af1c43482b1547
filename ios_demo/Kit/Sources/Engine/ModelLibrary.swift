@preconcurrency import CoreML
import Foundation
import RIDCore

/// The models that the app was built with: checked against their digests, compiled once, opened.
///
/// Packages are shipped as they are (Xcode's compiled form has no digest) and compiled on the
/// device at first use; the result is kept until the system or the model changes.
public actor ModelLibrary {
    private let models: URL
    private let cache: URL

    /// - Parameters:
    ///   - models: folder with `*.mlpackage`.
    ///   - cache: folder for what Core ML makes of them.
    public init(models: URL, cache: URL) {
        self.models = models
        self.cache = cache
    }

    /// The library of an app or extension: the folder `Models` in its bundle.
    public static func bundled() -> ModelLibrary {
        let bundle = Bundle.main.resourceURL ?? Bundle.main.bundleURL
        let caches = FileManager.default.urls(for: .cachesDirectory, in: .userDomainMask)[0]
        return ModelLibrary(
            models: bundle.appendingPathComponent("Models", isDirectory: true),
            cache: caches.appendingPathComponent("rid-models", isDirectory: true))
    }

    /// Names of the packages, such as `rid-s`, sorted.
    public func names() -> [String] {
        let files =
            (try? FileManager.default.contentsOfDirectory(
                at: models, includingPropertiesForKeys: nil)) ?? []
        return files.filter { $0.pathExtension == "mlpackage" }
            .map { $0.deletingPathExtension().lastPathComponent }.sorted()
    }

    /// The model to protect with: one in 16-bit floats if there is one, since the Neural Engine
    /// computes in nothing else, or the first.
    ///
    /// - Throws: `RIDError.modelMissing` if there is none, or what `package` throws.
    public func preferredName() throws -> String {
        let names = names()
        let halves = try names.filter { try package($0).metadata.precision == "fp16" }
        guard let name = halves.first ?? names.first else {
            throw RIDError.modelMissing("*.mlpackage")
        }
        return name
    }

    /// A package whose digest is what it was exported with.
    ///
    /// - Throws: `RIDError.modelMissing`, `.modelDamaged` or `.modelUnsupported`.
    public func package(_ name: String) throws -> ModelPackage {
        let package = try ModelPackage(
            url: models.appendingPathComponent("\(name).mlpackage", isDirectory: true))
        try package.checkDigest()
        return package
    }

    /// Opens a model on given compute units.
    public func open(_ name: String, on units: ComputeUnits) async throws -> CoreMLDefender {
        let package = try package(name)
        let configuration = MLModelConfiguration()
        configuration.computeUnits = units.coreML
        let model: MLModel
        if let kept = try? await MLModel.load(
            contentsOf: compiledURL(package), configuration: configuration)
        {
            model = kept
        } else {
            model = try await MLModel.load(
                contentsOf: compile(package), configuration: configuration)
        }
        return try CoreMLDefender(model: model, metadata: package.metadata, units: units)
    }

    /// Opens a model on the Neural Engine, or on the CPU where that fails, now or later.
    ///
    /// The GPU is left out: an app in the background may not use it.
    public func ladder(_ name: String) async throws -> EngineLadder {
        // Missing and damaged files are told as such, not as an engine that failed.
        _ = try package(name)
        return try await EngineLadder(
            rungs: [ComputeUnits.neuralEngine, .cpu].map { units in
                EngineLadder.Rung(name: "Core ML, \(units.name)") {
                    try await self.open(name, on: units)
                }
            })
    }

    /// Where the compiled form belongs: of this network, by this system.
    private func compiledURL(_ package: ModelPackage) -> URL {
        let system = ProcessInfo.processInfo.operatingSystemVersion
        let version = "\(system.majorVersion).\(system.minorVersion).\(system.patchVersion)"
        return cache.appendingPathComponent("\(package.metadata.network)-\(version).mlmodelc")
    }

    private func compile(_ package: ModelPackage) async throws -> URL {
        let fresh = try await MLModel.compileModel(at: package.url)
        let target = compiledURL(package)
        try FileManager.default.createDirectory(at: cache, withIntermediateDirectories: true)
        try? FileManager.default.removeItem(at: target)
        try FileManager.default.moveItem(at: fresh, to: target)
        return target
    }
}
