import CoreGraphics
import Foundation
import ImageIO
import RIDCore
import UniformTypeIdentifiers

/// Kinds of files that are written.
public enum PhotoFormat: String, Sendable, CaseIterable, Identifiable {
    case heic
    case jpeg
    case png

    public var id: String { rawValue }

    public var fileExtension: String { self == .jpeg ? "jpg" : rawValue }

    var type: UTType {
        switch self {
        case .heic: return .heic
        case .jpeg: return .jpeg
        case .png: return .png
        }
    }
}

/// A photo on disk: what its header says. Nothing is decoded.
public struct PhotoFile: Sendable {
    public let url: URL
    /// In pixels, as stored: a portrait of a camera is often wider than high.
    public let width: Int
    public let height: Int
    /// That makes the stored pixels upright.
    public let orientation: Orientation
    /// Bits per colour.
    public let depth: Int
    /// Kind of file that a result gets: the photo's own, or JPEG if that cannot be written.
    public let format: PhotoFormat
    /// Whether it says where it was taken.
    public let hasLocation: Bool

    /// - Throws: `RIDError.photoUnreadable`.
    public init(url: URL) throws {
        let source = try Self.source(url)
        guard let properties = Self.properties(source),
            let width = properties[kCGImagePropertyPixelWidth as String] as? Int,
            let height = properties[kCGImagePropertyPixelHeight as String] as? Int,
            width > 0, height > 0
        else { throw RIDError.photoUnreadable("it is damaged, or no photo") }
        self.url = url
        self.width = width
        self.height = height
        let tag = properties[kCGImagePropertyOrientation as String] as? Int ?? 1
        orientation = Orientation(rawValue: tag) ?? .up
        depth = properties[kCGImagePropertyDepth as String] as? Int ?? 8
        hasLocation = properties[kCGImagePropertyGPSDictionary as String] != nil
        let type = CGImageSourceGetType(source) as String?
        format = PhotoFormat.allCases.first { $0.type.identifier == type } ?? .jpeg
    }

    /// Decodes the photo in its own colour space; wide gamut stays wide.
    ///
    /// - Throws: `RIDError` for what cannot be read or would not fit into memory.
    public func decode() throws -> DecodedPhoto {
        try PhotoLimits.check(width: width, height: height, availableBytes: Memory.available)
        let source = try Self.source(url)
        let options = [kCGImageSourceShouldCache: false] as CFDictionary
        guard
            let image = CGImageSourceCreateImageAtIndex(
                source, CGImageSourceGetPrimaryImageIndex(source), options)
        else { throw RIDError.photoUnreadable("it is damaged or cut off") }
        return try DecodedPhoto(image, depth: depth)
    }

    /// What is written into the result: everything of the original but, on request, the location.
    ///
    /// Embedded thumbnails, and gain and depth maps, are no properties and stay behind: they show
    /// the face unprotected. So does XMP.
    func properties(keepsLocation: Bool) throws -> [String: Any] {
        var properties = Self.properties(try Self.source(url)) ?? [:]
        if !keepsLocation {
            properties[kCGImagePropertyGPSDictionary as String] = nil
        }
        return properties
    }

    private static func source(_ url: URL) throws -> CGImageSource {
        let options = [kCGImageSourceShouldCache: false] as CFDictionary
        guard let source = CGImageSourceCreateWithURL(url as CFURL, options),
            CGImageSourceGetCount(source) > 0
        else { throw RIDError.photoUnreadable("it is damaged, or no photo") }
        return source
    }

    private static func properties(_ source: CGImageSource) -> [String: Any]? {
        let index = CGImageSourceGetPrimaryImageIndex(source)
        return CGImageSourceCopyPropertiesAtIndex(source, index, nil) as? [String: Any]
    }
}
