// Stand-in, not Apple's: Core Foundation types that are bridged to Swift's own on Apple systems.
@_exported import Foundation

public typealias CFDictionary = [String: Any]
public typealias CFString = String
public typealias CFData = Data
public typealias CFURL = URL
